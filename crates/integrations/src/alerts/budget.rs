//! What there is to say of a budget: its soft limit is reached, little is left of it, it is used up. Source: LiteLLM,
//! `_get_event_and_event_message`; there the last 5 % are not told of when the last 15 % were on the same day.

use faregate_terms::PicoUsd;
use serde::Serialize;
use serde_json::{Value, json};

use super::Alert;

/// Whose budget it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Group {
    /// A virtual key.
    Key,
    /// An internal user.
    User,
    /// A team.
    Team,
    /// A user inside a team.
    TeamMember,
    /// An organization.
    Organization,
    /// A project.
    Project,
    /// An end user.
    EndUser,
    /// A tag.
    Tag,
    /// A model access group.
    ModelAccessGroup,
    /// The whole installation.
    Proxy,
}

impl Group {
    fn title(self) -> &'static str {
        match self {
            Self::Key => "Key Budget: ",
            Self::User => "User Budget: ",
            Self::Team => "Team Budget: ",
            Self::TeamMember => "Team Member Budget: ",
            Self::Organization => "Organization Budget: ",
            Self::Project => "Project Budget: ",
            Self::EndUser => "Customer Budget: ",
            Self::Tag => "Tag Budget: ",
            Self::ModelAccessGroup => "Model Access Group Budget: ",
            Self::Proxy => "Proxy Budget: ",
        }
    }
}

/// Names of those concerned; members are those of LiteLLM's event.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Names {
    /// Hash of the key.
    pub token: Option<String>,
    pub key_alias: Option<String>,
    pub user_id: Option<String>,
    pub user_email: Option<String>,
    pub team_id: Option<String>,
    pub team_alias: Option<String>,
    pub organization_id: Option<String>,
    /// The end user.
    pub customer_id: Option<String>,
    /// The tag; not in LiteLLM's event, which does not say which.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// The model access group; not in LiteLLM's event either.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_access_group: Option<String>,
}

/// How somebody stands to their budget.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// Whose budget.
    pub group: Group,
    /// Their id.
    pub id: String,
    /// Spent since the last reset.
    pub spend: PicoUsd,
    /// At most so much.
    pub max_budget: Option<PicoUsd>,
    /// Somebody is told at so much.
    pub soft_budget: Option<PicoUsd>,
    /// Who they are.
    pub names: Names,
}

/// What there is to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// The soft budget is reached.
    Soft,
    /// 15 % or less are left.
    Low,
    /// 5 % or less are left.
    VeryLow,
    /// Nothing is left.
    Crossed,
}

impl Event {
    /// A name that tells the events of one budget apart.
    pub fn word(self) -> &'static str {
        match self {
            Self::Soft => "soft",
            Self::Low => "15",
            Self::VeryLow => "5",
            Self::Crossed => "crossed",
        }
    }

    /// LiteLLM's word.
    fn event(self) -> &'static str {
        match self {
            Self::Soft => "soft_budget_crossed",
            Self::Low | Self::VeryLow => "threshold_crossed",
            Self::Crossed => "budget_crossed",
        }
    }
}

impl Standing {
    /// What there is to say now: at most one thing of the soft budget and one of the other.
    pub fn events(&self) -> Vec<Event> {
        let mut events = Vec::new();
        if self.soft_budget.is_some_and(|soft| self.spend >= soft && self.spend > PicoUsd::ZERO) {
            events.push(Event::Soft);
        }
        let Some(max) = self.max_budget.filter(|max| *max > PicoUsd::ZERO) else { return events };
        let left = (max.pico() - self.spend.pico()).saturating_mul(100);
        let percent = |percent: i128| max.pico().saturating_mul(percent);
        if self.spend >= max {
            events.push(Event::Crossed);
        } else if left <= percent(5) {
            events.push(Event::VeryLow);
        } else if left <= percent(15) {
            events.push(Event::Low);
        }
        events
    }

    /// The alert for one of the events.
    pub fn alert(&self, event: Event) -> Alert {
        let title = if event == Event::Soft { "Soft Budget Crossed: " } else { self.group.title() };
        let said = match event {
            Event::Soft => format!("Total Soft Budget:`{}`", dollars(self.soft_budget)),
            Event::Low => "15% or less of budget remaining".to_owned(),
            Event::VeryLow => "5% or less of budget remaining".to_owned(),
            Event::Crossed => format!("Budget Crossed\n Total Budget:`{}`", dollars(self.max_budget)),
        };
        let message = format!("{title}{said}");
        let webhook = self.webhook(event, &message);
        let facts = webhook.as_object().into_iter().flatten();
        let lines: String = facts
            .filter(|(name, value)| {
                !value.is_null() && !["token", "event", "event_message"].contains(&name.as_str())
            })
            .map(|(name, value)| match value {
                Value::String(text) => format!("*{name}:* `{text}`\n"),
                value => format!("*{name}:* `{value}`\n"),
            })
            .collect();
        Alert { kind: "budget_alerts", message: format!("{message}\n\n{lines}"), event: Some(webhook) }
    }

    fn webhook(&self, event: Event, message: &str) -> Value {
        let mut shown = json!({
            "spend": self.spend.to_f64(),
            "max_budget": self.max_budget.map(PicoUsd::to_f64),
            "soft_budget": self.soft_budget.map(PicoUsd::to_f64),
            "projected_exceeded_date": null,
            "projected_spend": null,
            "event_group": self.group,
            "alert_emails": null,
            "max_budget_alert_emails": null,
            "event": event.event(),
            "event_message": message,
        });
        let names = serde_json::to_value(&self.names).unwrap_or_default();
        if let (Value::Object(shown), Value::Object(names)) = (&mut shown, names) {
            shown.extend(names);
        }
        shown
    }
}

fn dollars(amount: Option<PicoUsd>) -> String {
    amount.map(|amount| amount.to_f64().to_string()).unwrap_or_default()
}
