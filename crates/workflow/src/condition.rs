//! Conditions: CEL (the Common Expression Language) over parameters and outputs, with limits.
//!
//! A condition sees `params`, `steps.<id>.outputs` and `steps.<id>.status` of earlier steps, in
//! `expect` and `until` the step's own `outputs`, and in a step that was written for each item of
//! a list its `item`. It has no clock, no regular expressions and no input beside these. What it
//! may be is checked when the workflow is made; when it is evaluated, an error never counts as true.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use cel::common::ast::{EntryExpr, Expr};
use cel::{Context, IdedExpr, Program};
use guard::text;
use serde_json::{Map, Value, json};

use crate::model::{Deed, Definition, StepId};
use crate::reference::Scope;
use crate::state::State;

/// The longest condition, in characters.
pub const CHARS: usize = 300;

/// How deep brackets may be nested: the parser recurses, and a stack has an end.
pub const DEPTH: usize = 4;

/// How many operators there may be.
pub const OPERATORS: usize = 24;

/// How many values a parameter may be made of that a condition with a macro uses.
pub const MACRO_VALUES: usize = 256;

/// What may be called. Each is cheap, and none looks at anything but its arguments.
const FUNCTIONS: &[&str] = &[
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "int",
    "uint",
    "double",
    "string",
];

/// What a condition may use, as the author of a workflow reads it.
const ALLOWED: &str = "`params.<name>`, `steps.<id>.outputs.<name>`, `steps.<id>.status`, \
                       comparisons, `&&`, `||`, `!`, `in`, `has()`, `size()` and one of `all`, \
                       `exists`, `exists_one`, `map`, `filter`";

/// Where a condition stands, and so what it may use.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Of which definition.
    pub definition: &'a Definition,
    /// Which steps are earlier.
    pub scope: Scope,
    /// The step's own answer is known: `outputs` may be used.
    pub answered: bool,
}

/// Checks a condition when a workflow is made.
///
/// # Errors
/// What is wrong with it, the remedy first.
pub fn check(condition: &str, place: Place<'_>) -> Result<(), String> {
    let program = compile(condition)?;
    let own = place.definition.steps.get(place.scope.own);
    let mut walk = Walk {
        place,
        own_outputs: own.map(|step| outputs_of(&step.deed)).unwrap_or_default(),
        item: matches!(own.map(|s| &s.deed), Some(Deed::Call(call)) if call.item.is_some()),
        variables: Vec::new(),
        macros: 0,
    };
    walk.expression(program.expression())?;
    // A macro looks at each value, and within it at each value again.
    let (params, _) = named(program.expression());
    let heavy = params.into_iter().find(|name| {
        let value = place.definition.params.get(name);
        value.is_some_and(|value| weight(value) > MACRO_VALUES)
    });
    match heavy.filter(|_| walk.macros > 0) {
        Some(name) => Err(format!(
            "Use a smaller `params.{name}`: a condition with a macro takes at most \
             {MACRO_VALUES} values"
        )),
        None => Ok(()),
    }
}

/// Whether a condition holds now. `outputs` are the step's own, where it has answered.
///
/// # Errors
/// Why it cannot be told: that is never true, and never false.
pub fn holds(
    state: &State,
    step: &StepId,
    condition: &str,
    outputs: Option<&BTreeMap<String, Value>>,
) -> Result<bool, String> {
    let program = compile(condition)?;
    let mut context = Context::default();
    let mut add = |name: &str, value: &Value| {
        context.add_variable_from_value(name, value_of(value));
    };
    let (params, named) = named(program.expression());
    let params: Map<String, Value> = params
        .into_iter()
        .filter_map(|name| Some((name.clone(), state.definition.params.get(&name)?.clone())))
        .collect();
    add("params", &Value::Object(params));
    let mut steps = Map::new();
    for id in named {
        if let Some((_, found)) = state.step(&StepId(id.clone())) {
            let seen = json!({"outputs": found.outputs, "status": found.status.word()});
            steps.insert(id, seen);
        }
    }
    add("steps", &Value::Object(steps));
    if let Some(outputs) = outputs {
        add("outputs", &json!(outputs));
    }
    if let Some(item) = state.call_of(step).and_then(|call| call.item.as_ref()) {
        add("item", item);
    }
    match program.execute(&context) {
        Ok(cel::Value::Bool(holds)) => Ok(holds),
        Ok(_) => Err("it is neither true nor false".to_owned()),
        Err(error) => Err(text::sanitize_to(&error.to_string(), 200)),
    }
}

fn outputs_of(deed: &Deed) -> BTreeSet<&str> {
    match deed {
        Deed::Call(call) => call.outputs.keys().map(String::as_str).collect(),
        Deed::Gate(_) => BTreeSet::new(),
    }
}

/// Reads a condition, once it is known to be short and flat.
fn compile(condition: &str) -> Result<Program, String> {
    limits(condition)?;
    Program::compile(condition).map_err(|error| {
        let said = error.to_string();
        let first = said.lines().next().unwrap_or_default();
        format!("Write a CEL expression: {}", text::sanitize_to(first, 200))
    })
}

/// The parser recurses for each bracket and operator, so these are counted before it runs: outside
/// of texts, whose ends are known without it since `\` and texts in three quotes are refused.
fn limits(condition: &str) -> Result<(), String> {
    if condition.chars().count() > CHARS {
        return Err(format!(
            "Shorten the condition to at most {CHARS} characters"
        ));
    }
    let refused = ["\n", "\\", "`", "\"\"\"", "'''"];
    if !text::is_clean(condition) || refused.iter().any(|part| condition.contains(part)) {
        return Err(
            "Write the condition in one line, without control characters, `\\`, backquotes and \
             texts in three quotes"
                .to_owned(),
        );
    }
    let (mut depth, mut operators, mut quote) = (0_usize, 0_usize, None);
    for character in condition.chars() {
        match (quote, character) {
            (Some(open), close) if open == close => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(character),
            (None, '(' | '[' | '{') => {
                operators += 1;
                depth += 1;
                if depth > DEPTH {
                    return Err(format!("Nest brackets at most {DEPTH} deep"));
                }
            }
            (None, ')' | ']' | '}') => depth = depth.saturating_sub(1),
            (None, c) if "+-*/%!?&|<>=.,:".contains(c) => operators += 1,
            (None, _) => {}
        }
    }
    // `&&`, `==` and their like are two characters each.
    let words = condition
        .split(|c: char| !c.is_alphanumeric())
        .filter(|w| *w == "in");
    if operators + 2 * words.count() > 2 * OPERATORS {
        return Err("Make the condition simpler: it has too many operators".to_owned());
    }
    Ok(())
}

/// The parameters and the steps that an expression names.
fn named(expression: &IdedExpr) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut params, mut steps) = (BTreeSet::new(), BTreeSet::new());
    each(&expression.expr, &mut |expression| {
        if let Expr::Select(select) = expression
            && let Expr::Ident(root) = &select.operand.expr
        {
            match root.as_str() {
                "params" => params.insert(select.field.clone()),
                "steps" => steps.insert(select.field.clone()),
                _ => false,
            };
        }
    });
    (params, steps)
}

/// A value as the language knows it. Whole numbers are signed wherever they can be, so that they
/// can be reckoned with.
fn value_of(value: &Value) -> cel::Value {
    match value {
        Value::Null => cel::Value::Null,
        Value::Bool(flag) => cel::Value::Bool(*flag),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(signed), _) => cel::Value::Int(signed),
            (None, Some(unsigned)) => cel::Value::UInt(unsigned),
            (None, None) => cel::Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => text.as_str().into(),
        Value::Array(list) => list.iter().map(value_of).collect::<Vec<_>>().into(),
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| (key.clone(), value_of(value)))
            .collect::<HashMap<_, _>>()
            .into(),
    }
}

/// How many values a value is made of.
fn weight(value: &Value) -> usize {
    match value {
        Value::Array(list) => 1 + list.iter().map(weight).sum::<usize>(),
        Value::Object(map) => 1 + map.values().map(weight).sum::<usize>(),
        _ => 1,
    }
}

/// Visits an expression and all within it.
fn each(expression: &Expr, visit: &mut impl FnMut(&Expr)) {
    visit(expression);
    for part in parts(expression) {
        each(part, visit);
    }
}

/// What an expression is made of.
fn parts(expression: &Expr) -> Vec<&Expr> {
    match expression {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => Vec::new(),
        Expr::Call(call) => call
            .target
            .iter()
            .map(|target| &target.expr)
            .chain(call.args.iter().map(|arg| &arg.expr))
            .collect(),
        Expr::Comprehension(over) => vec![
            &over.iter_range.expr,
            &over.accu_init.expr,
            &over.loop_cond.expr,
            &over.loop_step.expr,
            &over.result.expr,
        ],
        Expr::List(list) => list.elements.iter().map(|e| &e.expr).collect(),
        Expr::Map(map) => entries(map.entries.iter().map(|e| &e.expr)),
        Expr::Select(select) => vec![&select.operand.expr],
        Expr::Struct(made) => entries(made.entries.iter().map(|e| &e.expr)),
    }
}

fn entries<'a>(entries: impl Iterator<Item = &'a EntryExpr>) -> Vec<&'a Expr> {
    entries
        .flat_map(|entry| match entry {
            EntryExpr::StructField(field) => vec![&field.value.expr],
            EntryExpr::MapEntry(entry) => vec![&entry.key.expr, &entry.value.expr],
        })
        .collect()
}

/// Checks every part of an expression against what it may use.
struct Walk<'a> {
    place: Place<'a>,
    own_outputs: BTreeSet<&'a str>,
    item: bool,
    /// The variables of the macro that is being looked at; none outside of one.
    variables: Vec<String>,
    /// How many macros there were.
    macros: usize,
}

impl Walk<'_> {
    fn expression(&mut self, expression: &IdedExpr) -> Result<(), String> {
        self.part(&expression.expr)
    }

    fn part(&mut self, expression: &Expr) -> Result<(), String> {
        match expression {
            Expr::Ident(name) => return self.root(name),
            Expr::Select(select) => {
                if let Some(checked) = self.select(&select.operand.expr, &select.field) {
                    return checked;
                }
            }
            Expr::Call(call) => {
                // An operator is called by a name that nobody can write.
                let written = |c: char| c.is_alphanumeric() || c == '_';
                let operator = !call.func_name.chars().all(written);
                if !operator && !FUNCTIONS.contains(&call.func_name.as_str()) {
                    return Err(format!(
                        "Use {ALLOWED}: `{}` is not among it",
                        text::sanitize_to(&call.func_name, 64)
                    ));
                }
            }
            Expr::Comprehension(over) => {
                self.macros += 1;
                if self.macros > 1 {
                    return Err("Use only one of `all`, `exists`, `exists_one`, `map` and \
                                `filter`"
                        .to_owned());
                }
                self.part(&over.iter_range.expr)?;
                self.variables = vec![over.iter_var.clone(), over.accu_var.clone()];
                self.variables.extend(over.iter_var2.clone());
                let within = [
                    &over.accu_init,
                    &over.loop_cond,
                    &over.loop_step,
                    &over.result,
                ]
                .into_iter()
                .try_for_each(|part| self.part(&part.expr));
                self.variables.clear();
                return within;
            }
            Expr::Struct(_) => return Err(format!("Use {ALLOWED}, and no types")),
            Expr::Unspecified | Expr::List(_) | Expr::Map(_) | Expr::Literal(_) => {}
        }
        parts(expression).into_iter().try_for_each(|p| self.part(p))
    }

    /// A name that stands for itself.
    fn root(&self, name: &str) -> Result<(), String> {
        let known = match name {
            "outputs" => self.place.answered,
            "item" => self.item,
            other => self.variables.iter().any(|variable| variable == other),
        };
        if known {
            return Ok(());
        }
        Err(match name {
            "outputs" => "Use `outputs` in `expect` and `until` only: before a step runs it has \
                          none"
                .to_owned(),
            "params" => "Name the parameter: `params.<name>`".to_owned(),
            "steps" => {
                "Name the step: `steps.<id>.outputs.<name>` or `steps.<id>.status`".to_owned()
            }
            "item" => "Use `item` only in a step with `for_each`".to_owned(),
            other => format!(
                "Use {ALLOWED}: `{}` is not known here",
                text::sanitize_to(other, 64)
            ),
        })
    }

    /// What follows a dot, where it is one of the names that are known beforehand.
    fn select(&mut self, operand: &Expr, field: &str) -> Option<Result<(), String>> {
        match operand {
            Expr::Ident(root) if root == "params" => {
                let there = self.place.definition.params.contains_key(field);
                Some(if there {
                    Ok(())
                } else {
                    Err(format!("Add `{field}` to `params`: the condition uses it"))
                })
            }
            Expr::Ident(root) if root == "outputs" && self.place.answered => {
                let there = self.own_outputs.contains(field);
                Some(if there {
                    Ok(())
                } else {
                    Err(format!(
                        "Declare `{field}` in the step's `outputs`: the condition uses it"
                    ))
                })
            }
            Expr::Ident(root) if root == "steps" => Some(self.earlier(field).map(|_| ())),
            Expr::Select(of_step) => {
                let Expr::Select(step) = &of_step.operand.expr else {
                    return self.of_step(of_step.operand.expr.clone(), &of_step.field, field);
                };
                let in_steps = matches!(&step.operand.expr, Expr::Ident(r) if r == "steps");
                (in_steps && of_step.field == "outputs").then(|| self.output(&step.field, field))
            }
            _ => None,
        }
    }

    /// `steps.<id>.<field>`.
    fn of_step(&self, root: Expr, step: &str, field: &str) -> Option<Result<(), String>> {
        if !matches!(&root, Expr::Ident(r) if r == "steps") {
            return None;
        }
        Some(self.earlier(step).and_then(|_| match field {
            "outputs" | "status" => Ok(()),
            _ => Err(format!(
                "Use `steps.{step}.outputs.<name>` or `steps.{step}.status`"
            )),
        }))
    }

    fn output(&self, step: &str, output: &str) -> Result<(), String> {
        let deed = self.earlier(step)?;
        if outputs_of(deed).contains(output) {
            return Ok(());
        }
        Err(format!(
            "Declare `{output}` in the `outputs` of step `{step}`: the condition uses it"
        ))
    }

    fn earlier(&self, step: &str) -> Result<&Deed, String> {
        self.place
            .scope
            .earlier(self.place.definition)
            .find(|def| def.id.0 == step)
            .map(|def| &def.deed)
            .ok_or_else(|| {
                format!(
                    "Refer to an earlier step: the condition names `{}`, which is not one",
                    text::sanitize_to(step, 64)
                )
            })
    }
}
