//! The three drivers, over every action of a companion's own table: what is idempotent is done
//! twice, every undo is done twice, and every undo is done after a deed that ended half way. A new
//! action is taken up by itself, and fails the suite until it can be driven or is said not to be.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::{Map, Value, json};

use crate::support::{Home, Pilot, fake};

/// A row of a companion's table: what it says of one action.
pub(crate) struct Row {
    pub(crate) action: String,
    pub(crate) says: Value,
}

impl Row {
    pub(crate) fn is_idempotent(&self) -> bool {
        self.says["effect"] == "idempotent"
    }

    pub(crate) fn has_undo(&self) -> bool {
        self.says["undo"]
            .as_array()
            .is_some_and(|undo| !undo.is_empty())
    }
}

/// A companion as a process, and a client of it.
pub(crate) struct Companion {
    pub(crate) client: Pilot,
    /// The key that the last preview was asked with.
    pub(crate) previewed: String,
    tool: String,
    keys: u32,
}

impl Companion {
    /// Starts it, and finds the tool with a table.
    pub(crate) fn start(home: &Home, command: Command) -> (Self, Vec<Row>) {
        let mut client = home.start(command);
        let hello = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "tests", "version": "1.0"}});
        client.request("initialize", hello).unwrap();
        client.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        let list = client.request("tools/list", json!({})).unwrap();
        let tools = list["tools"].as_array().unwrap();
        let found = tools
            .iter()
            .find(|tool| tool["_meta"]["pilothouse/table"].is_object())
            .unwrap();
        let table = found["_meta"]["pilothouse/table"]["rows"]
            .as_object()
            .unwrap();
        let rows = table
            .iter()
            .filter(|(_, says)| says["risk"] != "read")
            .map(|(action, says)| Row {
                action: action.clone(),
                says: says.clone(),
            })
            .collect();
        let tool = found["name"].as_str().unwrap().to_owned();
        (
            Self {
                client,
                previewed: String::new(),
                tool,
                keys: 0,
            },
            rows,
        )
    }

    /// A key that no call had yet.
    pub(crate) fn key(&mut self, direction: &str) -> String {
        self.keys += 1;
        format!("wf_{}/step/{direction}/0", self.keys)
    }

    /// Calls the tool under a key: its answer, or its error.
    pub(crate) fn call(
        &mut self,
        arguments: &Value,
        key: &str,
        attempt: u32,
    ) -> Result<Value, Value> {
        let meta = json!({"pilothouse/key": key, "pilothouse/attempt": attempt});
        let params = json!({"name": self.tool, "arguments": arguments, "_meta": meta});
        let result = self.client.request("tools/call", params).unwrap();
        let body = result["structuredContent"].clone();
        if result["isError"] == true {
            Err(body)
        } else {
            Ok(body)
        }
    }

    /// What a preview says of a call.
    pub(crate) fn preview(&mut self, arguments: &Value) -> Result<Value, Value> {
        let mut asked = arguments.clone();
        asked["preview"] = true.into();
        self.previewed = self.key("do");
        let key = self.previewed.clone();
        self.call(&asked, &key, 1)
    }
}

/// How often each driver drove something.
#[derive(Default)]
pub(crate) struct Count(BTreeMap<&'static str, Vec<String>>);

impl Count {
    pub(crate) fn drove(&mut self, driver: &'static str, what: &str) {
        self.0.entry(driver).or_default().push(what.to_owned());
    }

    /// Prints them, and fails where one of the drivers drove nothing.
    pub(crate) fn end(&self, of: &str, drivers: &[&'static str]) {
        for driver in drivers {
            let drove = self.0.get(driver).map_or(&[][..], Vec::as_slice);
            println!("{of}: {driver}: {} ({})", drove.len(), drove.join(", "));
            assert!(!drove.is_empty(), "{of}: nothing was driven: {driver}");
        }
    }
}

/// Where nothing more can be asked of an action.
pub(crate) const ONCE: &str = "every action that changes something once";
pub(crate) const TWICE: &str = "every idempotent action twice";
pub(crate) const UNDO_TWICE: &str = "every undo twice";
pub(crate) const HALF: &str = "every undo after a half-done action";

/// Values for the arguments that the fake's actions take. A new one wants its own here.
fn arguments(row: &Row) -> Value {
    let known = json!({"name": "a", "value": 6});
    let mut arguments = Map::from_iter([("action".to_owned(), json!(row.action))]);
    for name in row.says["required"].as_array().unwrap() {
        let name = name.as_str().unwrap();
        assert!(
            known.get(name).is_some(),
            "no value for `{name}` of {}",
            row.action
        );
        arguments.insert(name.to_owned(), known[name].clone());
    }
    Value::Object(arguments)
}

#[test]
fn p8_p18_what_the_fake_declares_holds_when_it_is_done_twice_and_half() {
    let mut count = Count::default();
    let home = Home::new();
    let mut command = Command::new(fake());
    let beside = |name: &str| home.root().parent().unwrap().join(name);
    command
        .env("FAKE_LEDGER", beside("ledger"))
        .env("FAKE_STORE", beside("store"));
    let (mut fake, rows) = Companion::start(&home, command);
    for row in &rows {
        let arguments = arguments(row);
        for before in [json!({}), json!({"a": 2})] {
            home.set_store(&before);
            let Ok(preview) = fake.preview(&arguments) else {
                continue;
            };
            assert_eq!(
                home.store(),
                before,
                "a preview of {} changed something",
                row.action
            );
            if preview["changed"] != true {
                continue;
            }
            let what = format!("{} on {before}", row.action);
            if row.is_idempotent() {
                let key = fake.key("do");
                fake.call(&arguments, &key, 1).unwrap();
                let (once, lines) = (home.store(), home.ledger().len());
                fake.call(&arguments, &key, 2).unwrap();
                assert_eq!(
                    home.store(),
                    once,
                    "{what}: twice is another thing than once"
                );
                assert_eq!(home.ledger().len(), lines, "{what}: done twice for one key");
                count.drove(TWICE, &what);
            }
            if !row.has_undo() {
                continue;
            }
            // What may be done only once is not sent twice by anybody, and `add` is its own undo.
            let undo_row = rows
                .iter()
                .find(|row| row.action == preview["undo"]["action"].as_str().unwrap());
            let times = if undo_row.unwrap().is_idempotent() {
                2
            } else {
                1
            };
            for (fault, driver) in [(None, UNDO_TWICE), (Some("error_partial"), HALF)] {
                home.set_store(&before);
                let mut deed = arguments.clone();
                if let Some(fault) = fault {
                    deed["fault"] = fault.into();
                }
                let key = fake.key("do");
                let answer = fake.call(&deed, &key, 1);
                assert_eq!(answer.is_err(), fault.is_some(), "{what}");
                assert_ne!(home.store(), before, "{what}: nothing was done");
                let key = fake.key("undo");
                for attempt in 1..=times {
                    fake.call(&preview["undo"], &key, attempt).unwrap();
                    let zero = before.get("a").is_none() && home.store()["a"] == 0;
                    assert!(
                        home.store() == before || zero,
                        "{what}: undone {attempt} times: {}",
                        home.store()
                    );
                }
                if times == 2 || fault.is_some() {
                    count.drove(driver, &what);
                }
            }
        }
    }
    count.end("the fake", &[TWICE, UNDO_TWICE, HALF]);
}
