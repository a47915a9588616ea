//! about, list_sessions.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use crate::call::Call;
use crate::failure::Failure;
use crate::fault;
use crate::listing::Listing;

/// The server itself.
pub(crate) fn about(call: &Call<'_>) -> Map<String, Value> {
    let about = call.session.about();
    let clean = |text: &str| (!text.is_empty()).then(|| guard::text::sanitize(text));
    let mut answer = Map::new();
    answer.insert("action".to_owned(), json!(call.row.word));
    answer.insert(
        "about".to_owned(),
        json!({
            "server": call.server,
            "name": clean(&about.name),
            "full_name": clean(&about.full_name),
            "version": clean(&about.version),
            "build": clean(&about.build),
            "kind": if about.is_vcenter() { "vcenter" } else { "esxi" },
            "api_version": clean(&about.api_version),
            "api_version_used": call.session.api_version(),
            "instance_uuid": clean(&about.instance_uuid),
            "os_type": clean(&about.os_type),
            "user": clean(&call.session.user().user_name),
        }),
    );
    if let Some((fingerprint, _)) = call.session.certificate() {
        answer.insert("fingerprint".to_owned(), json!(fingerprint.to_string()));
    }
    answer
}

/// All sessions on the server.
pub(crate) async fn sessions(call: &Call<'_>) -> Result<Map<String, Value>, Failure> {
    let sessions = call.session.session_list().await.map_err(fault::failure)?.ok_or_else(|| {
        Failure::new(
            "vsphere.no_permission",
            "Grant the user `Sessions.TerminateSession`, without which the server does not show its sessions, or use another user",
        )
    })?;
    let own = call.session.user().key.as_str();
    let rows: HashMap<&str, Value> = sessions
        .iter()
        .map(|session| {
            let row = json!({
                "user": guard::text::sanitize(&session.user_name),
                "full_name": guard::text::sanitize(&session.full_name),
                "login_time": guard::text::sanitize_to(&session.login_time, 40),
                "last_active": guard::text::sanitize_to(&session.last_active_time, 40),
                "ip": guard::text::sanitize_to(&session.ip_address, 60),
                "program": guard::text::sanitize(&session.user_agent),
                "own": session.key == own,
            });
            (session.key.as_str(), row)
        })
        .collect();
    let keys = sessions
        .iter()
        .map(|session| (session.user_name.clone(), session.key.clone()))
        .collect();
    let listing = Listing::new(call, "sessions", keys)?;
    Ok(listing.answer(|key| rows.get(key).cloned()))
}
