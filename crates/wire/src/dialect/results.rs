//! Tool results among other content, as Anthropic and Bedrock have them.

use crate::chat::{Message, Part, Role};

/// Adds a user's turn to `messages`: tool results are turns of their own in the canonical form.
pub(in crate::dialect) fn user_turn(parts: Vec<Part>, messages: &mut Vec<Message>) {
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
