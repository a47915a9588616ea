//! answer_question: the answer to what a machine asks.

use serde_json::{Map, Value, json};
use vsphere::{MoRef, Question};

use crate::call::Call;
use crate::change::{self, Deed, Done, Plan, Undo, Verify};
use crate::failure::{Failure, nearest};
use crate::harm::{self, Level};
use crate::machine::{Machine, look, reread};
use policy::answer::ErrorEffect;

const QUESTION: &str = "runtime.question";

/// Answers the machine's question.
pub(crate) async fn answer(call: &Call<'_>) -> Result<Map<String, Value>, Failure> {
    let machine = Machine::find(call, &[]).await?;
    let pending = machine.question();
    let named = call.arguments.text("question_id");
    // One that is answered is not pending; another one is not the one that is meant.
    let question = match (pending, named) {
        (Some(question), Some(id)) if question.id != id => {
            return Err(Failure::new(
                "question.other",
                "Look at the question that the VM asks now, and decide anew: it is another one",
            )
            .with("question", shown(&question)));
        }
        (question, _) => question,
    };
    let choice = match &question {
        Some(question) => chosen(question, call.arguments.text("choice").unwrap_or_default())?,
        None => String::new(),
    };
    let harm = harm::check(call, &machine, Level::State).await?;
    let waits = |waits: bool| Map::from_iter([("waits_for_answer".to_owned(), json!(waits))]);
    let pointed = |waits: bool| Map::from_iter([("/vm/waits_for_answer".to_owned(), json!(waits))]);
    let mut warnings = machine.warnings();
    warnings.extend(harm.warnings(call));
    let mut extra = Map::new();
    if let Some(question) = &question {
        extra.insert("question".to_owned(), shown(question));
        extra.insert("choice".to_owned(), json!(choice));
    }
    let plan = Plan {
        target: machine.target(&call.server),
        changed: question.is_some(),
        before: waits(question.is_some()),
        after: waits(false),
        undo: Undo::none("What a VM was told cannot be taken back"),
        verify: Some(Verify {
            arguments: machine.arguments(call, "get_vm"),
            before: pointed(true),
            after: pointed(false),
        }),
        warnings,
        refusal: harm.refusal(call),
        extra,
    };
    let deed = Answer {
        machine: machine.reference,
        question: question.map(|question| question.id).unwrap_or_default(),
        choice,
    };
    change::carry_out(call, plan, deed).await
}

fn shown(question: &Question) -> Value {
    let choices: Vec<Value> = question
        .choices
        .iter()
        .take(20)
        .map(|(key, label)| {
            json!({ "key": guard::text::sanitize(key), "label": guard::text::sanitize(label) })
        })
        .collect();
    json!({
        "id": guard::text::sanitize_to(&question.id, 80),
        "text": guard::text::sanitize(&question.text), "choices": choices,
    })
}

/// The key of the choice that is meant, by its key or its label.
fn chosen(question: &Question, said: &str) -> Result<String, Failure> {
    let by_key = question.choices.iter().find(|(key, _)| key == said);
    let label = |(_, label): &&(String, String)| label.eq_ignore_ascii_case(said);
    if let Some((key, _)) = by_key.or_else(|| question.choices.iter().find(label)) {
        return Ok(key.clone());
    }
    let labels = question.choices.iter().map(|(_, label)| label.as_str());
    Err(Failure::new(
        "argument.out_of_range",
        "Pass `choice` as the key or the label of one of the choices of the question",
    )
    .with("argument", "choice")
    .with("nearest", nearest(said, labels))
    .with("question", shown(question)))
}

struct Answer {
    machine: MoRef,
    question: String,
    choice: String,
}

impl Answer {
    /// Whether the machine no longer asks this.
    fn is_answered(&self, object: &vsphere::Object) -> bool {
        let now = object.get(QUESTION).and_then(Question::from_value);
        !object.is_unreadable(QUESTION) && now.is_none_or(|question| question.id != self.question)
    }
}

impl Deed for Answer {
    async fn perform(&self, call: &Call<'_>) -> Result<Done, Failure> {
        call.sent.change("AnswerVM");
        let vm = &self.machine;
        let sent = call.session.answer(vm, &self.question, &self.choice).await;
        if let Err(error) = sent {
            let failure = change::not_started(call, error);
            let unknown = failure.effect() == ErrorEffect::Unknown;
            let now = if unknown {
                look(call.session, vm, &[QUESTION]).await
            } else {
                None
            };
            if !now.is_some_and(|object| self.is_answered(&object)) {
                return Err(failure);
            }
        }
        let paths = [QUESTION, "runtime.powerState"];
        let now = reread(call.session, vm, &paths).await.ok().flatten();
        let asks = now
            .as_ref()
            .and_then(|object| object.get(QUESTION))
            .and_then(Question::from_value);
        let mut extra = Map::new();
        // One answer may lead to the next question.
        if let Some(next) = asks.filter(|question| question.id != self.question) {
            extra.insert("next_question".to_owned(), shown(&next));
        }
        Ok(Done {
            extra,
            ..Done::default()
        })
    }
}
