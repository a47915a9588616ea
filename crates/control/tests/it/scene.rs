//! A scripted server with one machine, `vm-42`, and the program under test in front of it.

use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::fake::{Fake, Reply, Seen};
use crate::support::{Answer, Server, TestHome};

/// A scripted server, and the program under test.
pub(crate) struct Scene {
    server: Server,
    /// What answers, and what it was sent.
    pub(crate) fake: Fake,
    /// Where its state is.
    pub(crate) home: TestHome,
    _runtime: Runtime,
}

impl Scene {
    /// A server with one machine in this state, and nothing wrong but what `script` says.
    pub(crate) fn new(
        state: impl Fn(&Seen) -> String + Send + Sync + 'static,
        script: impl Fn(&Seen) -> Option<Reply> + Send + Sync + 'static,
    ) -> Self {
        let runtime = Runtime::new().unwrap();
        let fake = runtime.block_on(Fake::but(move |seen| {
            script(seen).or_else(|| {
                (seen.method == "RetrievePropertiesEx").then(|| properties(seen, &state(seen)))
            })
        }));
        let home = TestHome::new();
        Self {
            server: Server::start(&home),
            fake,
            home,
            _runtime: runtime,
        }
    }

    /// Calls it for the machine, and checks that no session is left.
    pub(crate) fn call(&self, action: &str, more: Value) -> Answer {
        self.call_with(action, more, json!({}))
    }

    /// As [`Scene::call`], with something in `_meta`.
    pub(crate) fn call_with(&self, action: &str, more: Value, meta: Value) -> Answer {
        let mut all = json!({
            "action": action, "host": "127.0.0.1", "port": self.fake.port, "user": "u", "password": "p",
            "moref": "vm-42", "timeout_s": 2
        });
        crate::support::merge(&mut all, &more);
        let answer = self.server.call_with(all, meta);
        // However the call ended, the session was ended as well.
        let logins = self.fake.of("Login").len();
        assert_eq!(self.fake.of("Logout").len(), logins, "{}", answer.body);
        answer
    }

    /// How often the server was sent this.
    pub(crate) fn was_sent(&self, method: &str) -> usize {
        self.fake.of(method).len()
    }
}

/// The answer to a request for properties: our machine if it is asked for, else nothing.
pub(crate) fn properties(seen: &Seen, machine: &str) -> Reply {
    let object = if seen.body.contains(">vm-42</obj>") && !machine.is_empty() {
        format!(
            "<returnval><objects><obj type=\"VirtualMachine\">vm-42</obj>{machine}</objects></returnval>"
        )
    } else {
        String::new()
    };
    Reply::Soap(format!(
        "<RetrievePropertiesExResponse xmlns=\"urn:vim25\">{object}</RetrievePropertiesExResponse>"
    ))
}

/// One property of an object.
pub(crate) fn property(name: &str, value: &str) -> String {
    format!("<propSet><name>{name}</name><val>{value}</val></propSet>")
}

/// A machine in this power state, with nothing wrong.
pub(crate) fn machine(power: &str) -> String {
    [
        property("name", "web01"),
        property("runtime.powerState", power),
        property("runtime.connectionState", "connected"),
        property("summary.config.instanceUuid", "5001-web01"),
        property("config.hardware.numCPU", "2"),
        property("config.hardware.memoryMB", "1024"),
        property("config.changeVersion", "2026-01-01T00:00:00Z"),
    ]
    .concat()
}

/// What a machine asks.
pub(crate) const QUESTION: &str = "<val><id>7</id><text>Keep it?</text><choice>\
    <choiceInfo><label>Yes</label><summary>Yes</summary><key>0</key></choiceInfo></choice></val>";

/// An update of the task, and with `asks` of the machine that it works on.
pub(crate) fn update(of_task: &str, asks: &str) -> Reply {
    let object = |kind: &str, id: &str, changes: &str| {
        format!("<objectSet><kind>enter</kind><obj type=\"{kind}\">{id}</obj>{changes}</objectSet>")
    };
    let task = object("Task", "task-7", of_task);
    let vm = if asks.is_empty() {
        String::new()
    } else {
        object("VirtualMachine", "vm-42", asks)
    };
    Reply::Soap(format!(
        "<WaitForUpdatesExResponse xmlns=\"urn:vim25\"><returnval><version>1</version><filterSet>\
         <filter type=\"PropertyFilter\">f</filter>{task}{vm}</filterSet></returnval></WaitForUpdatesExResponse>"
    ))
}

/// A property that has changed.
pub(crate) fn change(name: &str, value: &str) -> String {
    format!("<changeSet><name>{name}</name><op>assign</op>{value}</changeSet>")
}

/// The task ends at once.
pub(crate) fn success() -> Reply {
    update(&change("info.state", "<val>success</val>"), "")
}

/// The task fails at once, with this fault.
pub(crate) fn failure(kind: &str) -> Reply {
    let error = format!(
        "<val><fault xsi:type=\"{kind}\"/><localizedMessage>said the \u{202e}server</localizedMessage></val>"
    );
    let both = change("info.state", "<val>error</val>") + &change("info.error", &error);
    update(&both, "")
}

/// What each request for updates is answered.
pub(crate) fn wait(
    reply: fn() -> Reply,
) -> impl Fn(&Seen) -> Option<Reply> + Send + Sync + 'static {
    move |seen| (seen.method == "WaitForUpdatesEx").then(reply)
}
