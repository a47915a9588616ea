//! How little a server is asked, where what is known already does not have to be asked for again.

use serde_json::json;
use tokio::runtime::Runtime;

use crate::fake::{Fake, Reply, Seen};
use crate::scene::{machine, property};
use crate::support::{Server, TestHome};

const UUID: &str = "50010000-0000-4000-8000-000000000042";

/// A machine that is off until it is powered on, by a task that ends at once.
fn ready(seen: &Seen) -> Option<Reply> {
    let inner = match seen.method.as_str() {
        // Servers say the time with it: it need not be asked for.
        "Login" => "<returnval><key>52-key</key><userName>u</userName>\
                    <loginTime>2026-01-01T00:00:00Z</loginTime></returnval>"
            .to_owned(),
        "FindAllByUuid" => "<returnval type=\"VirtualMachine\">vm-42</returnval>".to_owned(),
        "RetrievePropertiesEx" if seen.body.contains(">task-7</obj>") => format!(
            "<returnval><objects><obj type=\"Task\">task-7</obj>{}</objects>\
             <objects><obj type=\"VirtualMachine\">vm-42</obj>{}</objects></returnval>",
            property("info.state", "success"),
            property("runtime.powerState", "poweredOn")
        ),
        "RetrievePropertiesEx" => format!(
            "<returnval><objects><obj type=\"VirtualMachine\">vm-42</obj>{}{}</objects>\
             <objects><obj type=\"Folder\">group-v3</obj>{}</objects></returnval>",
            machine("poweredOff").replace("5001-web01", UUID),
            "<propSet><name>parent</name><val type=\"Folder\">group-v3</val></propSet>",
            property("name", "vm")
        ),
        _ => return None,
    };
    Some(Reply::Soap(format!(
        "<{0}Response xmlns=\"urn:vim25\">{inner}</{0}Response>",
        seen.method
    )))
}

#[test]
fn c4_a_power_on_by_uuid_in_a_running_server_takes_seven_calls_over_one_connection() {
    let runtime = Runtime::new().unwrap();
    let fake = runtime.block_on(Fake::but(ready));
    let home = TestHome::new();
    let server = Server::start(&home);
    let power_on = || {
        let done = server.call(json!({
            "action": "power_on", "vm_uuid": UUID, "host": "127.0.0.1", "port": fake.port,
            "user": "u", "password": "p", "timeout_s": 60
        }));
        let done = done.ok();
        assert_eq!(done["changed"], true);
        assert_eq!(done["after"]["power_state"], "poweredOn");
        assert_eq!(done["target"]["path"], "/vm/web01");
    };
    power_on();
    let before = fake.seen().len();
    power_on();
    let seen = fake.seen().split_off(before);
    let methods: Vec<&str> = seen.iter().map(|seen| seen.method.as_str()).collect();
    assert_eq!(
        methods,
        [
            "Login",
            "RetrieveServiceContent",
            "FindAllByUuid",
            // The machine, and what it lies in.
            "RetrievePropertiesEx",
            "PowerOnVM_Task",
            // The task, and the machine as it is afterwards.
            "RetrievePropertiesEx",
            "Logout",
        ]
    );
    assert!(seen.iter().all(|one| one.connection == seen[0].connection));
}
