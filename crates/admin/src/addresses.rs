//! The addresses from which calls with a key may come: `general_settings.allowed_ips`. Source: compat, endpoints §2.18;
//! words are LiteLLM's.

use std::net::IpAddr;

use serde_json::json;

use crate::Outcome;
use crate::error::AdminError;
use crate::fields::{Field, Holds, required};
use crate::routes::{Answer, Call, Route, route};
use crate::settings;

const ADDRESS: &[Field] = &[required("ip", Holds::Text, "an IP address, such as 192.0.2.1")];

pub(crate) const ROUTES: &[Route] = &[
    route!("GET", &["/get/allowed_ips"], Admin, &[], &[], "Addresses that may call", list),
    route!("POST", &["/add/allowed_ip"], Admin, &[ADDRESS], &[], "Let an address call", add),
    route!("POST", &["/delete/allowed_ip"], Admin, &[ADDRESS], &[], "Let an address call no more", remove),
];

/// What is served now, of the file or of the database.
fn allowed(call: &Call) -> Vec<IpAddr> {
    call.admin.snapshot.load().general.allowed_ips.clone()
}

fn address(call: &Call) -> Result<IpAddr, AdminError> {
    let text = call.text("ip").unwrap_or_default();
    let parsed: Result<IpAddr, _> = text.trim().parse();
    parsed.map(|address| address.to_canonical()).map_err(|_| {
        AdminError::invalid("ip", format!("ip: `{text}` is no IP address; write one such as 192.0.2.1"))
    })
}

async fn list(call: Call) -> Outcome {
    let allowed = allowed(&call);
    Ok(Answer::json(&json!({ "data": (!allowed.is_empty()).then_some(allowed) })))
}

async fn add(call: Call) -> Outcome {
    let (mut allowed, address) = (allowed(&call), address(&call)?);
    if allowed.contains(&address) {
        return Err(AdminError::invalid("ip", "IP address already exists"));
    }
    allowed.push(address);
    settings::store(&call, "general_settings", "allowed_ips", json!(allowed)).await?;
    Ok(Answer::json(
        &json!({ "message": format!("IP {address} address added successfully"), "status": "success" }),
    ))
}

async fn remove(call: Call) -> Outcome {
    let (mut allowed, address) = (allowed(&call), address(&call)?);
    if !allowed.contains(&address) {
        return Err(AdminError::not_found("IP address not found"));
    }
    allowed.retain(|known| *known != address);
    settings::store(&call, "general_settings", "allowed_ips", json!(allowed)).await?;
    Ok(Answer::json(&json!({ "message": format!("IP {address} deleted successfully"), "status": "success" })))
}
