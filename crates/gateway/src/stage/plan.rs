//! Model name → ordered attempts.

use faregate_router::{Dice, Plan, Resolved};

use crate::gate::Table;
use crate::refusal::Refusal;

/// What a request may try.
pub struct Planned {
    /// What the name means.
    pub resolved: Resolved,
    /// The attempts, in order.
    pub plan: Plan,
}

/// Finds the deployments for `model` and orders them.
///
/// # Errors
/// 400 if nothing serves the model.
pub fn plan(
    table: &Table,
    route: &'static str,
    model: &str,
    retries: Option<u32>,
    dice: &mut dyn Dice,
) -> Result<Planned, Refusal> {
    let known = table.model_aliases.get(model).map_or(model, String::as_str);
    let prefixed = table.prefixed(known);
    let resolved = table.router.resolve(known, prefixed.as_deref()).map_err(|unknown| {
        match table.unsupported.get(known) {
            Some(why) => Refusal::NotImplemented(why.clone()),
            None => Refusal::UnknownModel { route, model: unknown.0 },
        }
    })?;
    let retries = retries.unwrap_or(table.settings.num_retries);
    let plan = table.router.plan(&resolved, retries, dice);
    Ok(Planned { resolved, plan })
}
