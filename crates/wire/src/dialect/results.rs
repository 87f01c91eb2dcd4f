//! Tool results among other content, as Anthropic and Bedrock have them.

use crate::chat::{Message, Part, Role};

use super::BadRequest;

/// Adds the turn of a speaker; `at` is the place of the role's word.
pub(in crate::dialect) fn turn(
    role: &str,
    parts: Vec<Part>,
    at: &str,
    messages: &mut Vec<Message>,
) -> Result<(), BadRequest> {
    match role {
        "user" => user_turn(parts, messages),
        "assistant" => messages.push(Message::new(Role::Assistant, parts)),
        "system" => messages.push(Message::new(Role::System, parts)),
        _ => {
            return Err(BadRequest::new(at, format!("{at}: must be `user`, `assistant` or `system`")));
        }
    }
    Ok(())
}

/// Adds a user's turn to `messages`: tool results are turns of their own in the canonical form.
fn user_turn(parts: Vec<Part>, messages: &mut Vec<Message>) {
    if parts.is_empty() {
        messages.push(Message::new(Role::User, parts));
        return;
    }
    let mut current: Option<Message> = None;
    for part in parts {
        let role = if matches!(part, Part::ToolResult { .. }) { Role::Tool } else { Role::User };
        match &mut current {
            Some(message) if message.role == role => message.parts.push(part),
            _ => messages.extend(current.replace(Message::new(role, vec![part]))),
        }
    }
    messages.extend(current);
}
