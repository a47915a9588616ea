//! One step of a definition: a gate, or a call with its undo, its outputs and its verify.

use std::collections::BTreeMap;

use guard::{limit, name, text};
use serde_json::{Map, Value};

use super::field::{ON_FAILURE, count, field, join, known, named, object, seconds, string, word};
use crate::model::{
    Call, CallStep, Deed, OutputDef, Retry, ScalarKind, StepDef, StepId, Verify, WaitFor,
};
use crate::refusal::Refusal;

const STEP: &[&str] = &[
    "id",
    "name",
    "description",
    "skill",
    "tool",
    "params",
    "undo",
    "outputs",
    "verify",
    "timeout_s",
    "when",
    "expect",
    "retry",
    "wait_for",
    "on_failure",
    "gate",
];

pub(super) fn step(raw: &Map<String, Value>, at: &str) -> Result<StepDef, Refusal> {
    known("step.field", at, raw, STEP)?;
    let id = string("step.id", at, raw, "id")?.ok_or_else(|| {
        Refusal::new(
            "step.id",
            format!(
                "Give the step at /{at} an `id`: a small letter, then small letters, digits and `_`"
            ),
        )
        .with("pointer", format!("/{at}"))
    })?;
    named("step.id", &format!("{at}/id"), id, name::step_id)?;
    let step_name = string("step.name", at, raw, "name")?.unwrap_or(id);
    named("step.name", &format!("{at}/name"), step_name, name::name)?;
    let description = string("step.name", at, raw, "description")?.unwrap_or_default();
    named(
        "step.name",
        &format!("{at}/description"),
        description,
        name::description,
    )?;
    let deed = match string("step.field", at, raw, "gate")? {
        Some(message) => {
            if let Some(other) = [
                "skill",
                "tool",
                "params",
                "undo",
                "outputs",
                "verify",
                "timeout_s",
                "expect",
                "retry",
                "wait_for",
                "on_failure",
            ]
            .iter()
            .find(|k| raw.contains_key(**k))
            {
                return Err(Refusal::new(
                    "step.field",
                    format!(
                        "Remove `{other}` from the gate `{id}`, or make it a step without `gate`"
                    ),
                )
                .with("pointer", format!("/{at}/{other}")));
            }
            named(
                "step.field",
                &format!("{at}/gate"),
                message,
                name::description,
            )?;
            if message.trim().is_empty() {
                return Err(field(
                    "step.field",
                    &format!("{at}/gate"),
                    "a message for the person who decides",
                ));
            }
            Deed::Gate(message.to_owned())
        }
        None => Deed::Call(Box::new(call_step(raw, at, id)?)),
    };
    Ok(StepDef {
        id: StepId(id.to_owned()),
        name: step_name.to_owned(),
        description: description.to_owned(),
        when: condition(raw, at, "when")?,
        deed,
    })
}

fn call_step(raw: &Map<String, Value>, at: &str, id: &str) -> Result<CallStep, Refusal> {
    let call = call(raw, at, None)?;
    let undo = match raw.get("undo") {
        None | Some(Value::Null) => None,
        Some(Value::Object(undo)) => {
            let at = format!("{at}/undo");
            known("step.field", &at, undo, &["skill", "tool", "params"])?;
            Some(self::call(undo, &at, Some(&call))?)
        }
        Some(_) => {
            return Err(field(
                "step.field",
                &format!("{at}/undo"),
                "an object with `tool` and `params`",
            ));
        }
    };
    let verify = match raw.get("verify") {
        None | Some(Value::Null) => None,
        Some(Value::Object(verify)) => Some(self::verify(verify, &format!("{at}/verify"), &call)?),
        Some(_) => {
            return Err(field(
                "step.field",
                &format!("{at}/verify"),
                "an object with `tool`, `params` and `expect`",
            ));
        }
    };
    Ok(CallStep {
        outputs: outputs(raw, at, id)?,
        timeout_s: seconds("step.field", at, raw, "timeout_s", 86_400)?,
        call,
        undo,
        verify,
        expect: condition(raw, at, "expect")?,
        retry: retry(raw, at)?,
        wait_for: wait_for(raw, at)?,
        on_failure: word("step.field", at, raw, "on_failure", ON_FAILURE)?,
        item: None,
    })
}

fn condition(raw: &Map<String, Value>, at: &str, name: &str) -> Result<Option<String>, Refusal> {
    Ok(string("step.field", at, raw, name)?.map(str::to_owned))
}

fn retry(raw: &Map<String, Value>, at: &str) -> Result<Option<Retry>, Refusal> {
    let Some(retry) = object("step.field", at, raw, "retry")? else {
        return Ok(None);
    };
    let at = join(at, "retry");
    known(
        "step.field",
        &at,
        retry,
        &["count", "backoff_s", "max_backoff_s"],
    )?;
    let times = count("step.field", &at, retry, "count", (1, 20), "times")?
        .ok_or_else(|| field("step.field", &join(&at, "count"), "how often to try again"))?;
    let backoff_s = seconds("step.field", &at, retry, "backoff_s", 3600)?.unwrap_or(1);
    let max_backoff_s = seconds("step.field", &at, retry, "max_backoff_s", 3600)?.unwrap_or(60);
    Ok(Some(Retry {
        count: times,
        backoff_s,
        max_backoff_s: max_backoff_s.max(backoff_s),
    }))
}

fn wait_for(raw: &Map<String, Value>, at: &str) -> Result<Option<WaitFor>, Refusal> {
    let Some(wait) = object("step.field", at, raw, "wait_for")? else {
        return Ok(None);
    };
    let at = join(at, "wait_for");
    known("step.field", &at, wait, &["until", "every_s", "deadline_s"])?;
    let until = condition(wait, &at, "until")?.ok_or_else(|| {
        field(
            "step.field",
            &join(&at, "until"),
            "the condition to wait for, such as `outputs.state == \"on\"`,",
        )
    })?;
    Ok(Some(WaitFor {
        until,
        every_s: seconds("step.field", &at, wait, "every_s", 3600)?.unwrap_or(5),
        deadline_s: seconds("step.field", &at, wait, "deadline_s", 86_400)?.unwrap_or(300),
    }))
}

fn call(raw: &Map<String, Value>, at: &str, like: Option<&Call>) -> Result<Call, Refusal> {
    let text_of = |field_name: &str, default: Option<&str>| -> Result<String, Refusal> {
        let given = string("step.field", at, raw, field_name)?.or(default).ok_or_else(|| {
            Refusal::new(
                "step.field",
                format!("Give the step at /{at} a `{field_name}` (get_skill_catalog lists them), or a `gate`"),
            )
            .with("pointer", format!("/{at}"))
        })?;
        let ordinary = given
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/'));
        if given.is_empty() || given.chars().count() > 128 || !ordinary {
            return Err(field(
                "step.field",
                &format!("{at}/{field_name}"),
                "1 to 128 ASCII letters, digits, `_`, `-`, `.` or `/`",
            ));
        }
        Ok(given.to_owned())
    };
    let arguments = object("step.field", at, raw, "params")?
        .cloned()
        .unwrap_or_default();
    text::check_arguments(&Value::Object(arguments.clone())).map_err(|e| {
        Refusal::new("step.unclean", e.to_string())
            .with("pointer", format!("/{at}/params{}", e.pointer))
    })?;
    Ok(Call {
        skill: text_of("skill", like.map(|c| c.skill.as_str()))?,
        tool: text_of("tool", like.map(|c| c.tool.as_str()))?,
        arguments,
    })
}

fn verify(raw: &Map<String, Value>, at: &str, step: &Call) -> Result<Verify, Refusal> {
    known(
        "step.field",
        at,
        raw,
        &["skill", "tool", "params", "expect", "expect_before"],
    )?;
    let expectation = |name: &str| -> Result<BTreeMap<String, Value>, Refusal> {
        let map = object("step.field", at, raw, name)?
            .cloned()
            .unwrap_or_default();
        for (key, value) in &map {
            pointer_ok(key, &format!("{at}/{name}"))?;
            if value.is_object() || value.is_array() {
                return Err(field(
                    "step.field",
                    &format!("{at}/{name}"),
                    "JSON Pointers with a scalar each",
                ));
            }
        }
        Ok(map.into_iter().collect())
    };
    let after = expectation("expect")?;
    if after.is_empty() {
        return Err(field(
            "step.field",
            &format!("{at}/expect"),
            "at least one JSON Pointer with the value expected there",
        ));
    }
    Ok(Verify {
        call: call(raw, at, Some(step))?,
        after,
        before: expectation("expect_before")?,
    })
}

fn outputs(
    raw: &Map<String, Value>,
    at: &str,
    id: &str,
) -> Result<BTreeMap<String, OutputDef>, Refusal> {
    let Some(map) = object("step.field", at, raw, "outputs")? else {
        return Ok(BTreeMap::new());
    };
    if map.len() > limit::OUTPUTS {
        return Err(Refusal::new(
            "step.field",
            format!(
                "Declare fewer outputs in step `{id}`: at most {} are kept",
                limit::OUTPUTS
            ),
        ));
    }
    let mut outputs = BTreeMap::new();
    for (output, def) in map {
        let here = format!("{at}/outputs/{output}");
        if name::step_id(output).is_err() {
            return Err(field(
                "step.field",
                &here,
                "a name of small letters, digits and `_`",
            ));
        }
        let def = match def {
            Value::String(pointer) => OutputDef {
                pointer: pointer.clone(),
                kind: ScalarKind::String,
            },
            Value::Object(def) => {
                known("step.field", &here, def, &["pointer", "type"])?;
                OutputDef {
                    pointer: string("step.field", &here, def, "pointer")?
                        .ok_or_else(|| {
                            field(
                                "step.field",
                                &format!("{here}/pointer"),
                                "a JSON Pointer into the answer, such as `/vm/name`",
                            )
                        })?
                        .to_owned(),
                    kind: match string("step.field", &here, def, "type")? {
                        None | Some("string") => ScalarKind::String,
                        Some("integer") => ScalarKind::Integer,
                        Some("number") => ScalarKind::Number,
                        Some("boolean") => ScalarKind::Boolean,
                        Some(_) => {
                            return Err(field(
                                "step.field",
                                &format!("{here}/type"),
                                "`string`, `integer`, `number` or `boolean`",
                            ));
                        }
                    },
                }
            }
            _ => {
                return Err(field(
                    "step.field",
                    &here,
                    "a JSON Pointer, or an object with `pointer` and `type`",
                ));
            }
        };
        pointer_ok(&def.pointer, &here)?;
        outputs.insert(output.clone(), def);
    }
    Ok(outputs)
}

fn pointer_ok(pointer: &str, at: &str) -> Result<(), Refusal> {
    if pointer.starts_with('/') && text::is_clean(pointer) && pointer.len() <= 500 {
        Ok(())
    } else {
        Err(field(
            "step.field",
            at,
            "a JSON Pointer that begins with `/`, such as `/vm/name`",
        ))
    }
}
