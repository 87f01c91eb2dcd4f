//! Whom a request is booked on.

use http::header::USER_AGENT;

use faregate_terms::Account;

use crate::call::{Arrival, Labels};
use crate::stage::identify::Principal;

/// How spend logs name the master key and its user. Source: compat, behaviour §1.
const MASTER_KEY: &str = "litellm_proxy_master_key";
const MASTER_USER: &str = "default_user_id";

/// The account of a request whose body is not read yet.
pub fn of(principal: &Principal, arrival: &Arrival) -> Account {
    let mut account = match principal {
        Principal::Key(caller) => caller.account.clone(),
        Principal::Master => Account {
            api_key: MASTER_KEY.to_owned(),
            user: Some(MASTER_USER.to_owned()),
            ..Account::default()
        },
        Principal::Anonymous => Account::default(),
    };
    account.ip = arrival.client_ip.map(|ip| ip.to_string());
    let user_agent = arrival.headers.get(USER_AGENT).and_then(|value| value.to_str().ok());
    account.user_agent = user_agent.map(str::to_owned);
    account
}

/// Adds what the client says.
pub fn label(account: &mut Account, labels: &Labels) {
    account.end_user.clone_from(&labels.end_user);
    account.session.clone_from(&labels.session);
    for tag in &labels.tags {
        if !account.tags.contains(tag) {
            account.tags.push(tag.clone());
        }
    }
}
