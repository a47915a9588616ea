//! Hostile conditions: whatever passes the limits is read and evaluated on a small stack.

use workflow::condition::{CHARS, Place, check, holds};
use workflow::model::StepId;
use workflow::reference::Scope;
use workflow::state::State;

use crate::condition::state;

/// Half of what a thread has where nothing is said, so that there is room for what calls it.
const STACK: usize = 1024 * 1024;

/// Reads and evaluates; whether it passed the limits, and whether it came to something.
fn tried(state: &State, condition: &str) -> (bool, bool) {
    let scope = Scope::of(&state.definition, 2);
    let place = Place {
        definition: &state.definition,
        scope,
        answered: false,
    };
    let passed = check(condition, place).is_ok();
    let told = holds(state, &StepId("own".to_owned()), condition, None).is_ok();
    (passed, told)
}

fn on_a_small_stack(conditions: Vec<String>) -> (usize, usize, usize) {
    let tried = move || {
        let state = state(true);
        let mut counts = (conditions.len(), 0, 0);
        for condition in &conditions {
            let (passed, told) = tried(&state, condition);
            counts.1 += usize::from(passed);
            counts.2 += usize::from(told);
        }
        counts
    };
    let thread = std::thread::Builder::new().stack_size(STACK);
    thread.spawn(tried).unwrap().join().unwrap()
}

/// As many of a piece as fit, before and after a middle.
fn chain(open: &str, middle: &str, close: &str, tail: &str) -> Vec<String> {
    let fits = |n: usize| n * (open.len() + close.len()) + middle.len() + tail.len() <= CHARS;
    (1..=CHARS)
        .take_while(|n| fits(*n))
        .map(|n| format!("{}{middle}{}{tail}", open.repeat(n), close.repeat(n)))
        .collect()
}

#[test]
fn p18_the_deepest_conditions_that_may_be_written_fit_a_small_stack() {
    let mut conditions = Vec::new();
    for (open, middle, close, tail) in [
        ("(", "true", ")", ""),
        ("[", "1", "]", " == []"),
        ("{1:", "1", "}", " == {}"),
        ("!", "true", "", ""),
        ("-", "1", "", " == 1"),
        ("!(", "true", ")", ""),
        ("-(", "1", ")", " == 1"),
        ("1+", "1", "", " == 1"),
        ("1-", "1", "", " == 1"),
        ("1*", "1", "", " == 1"),
        ("1==", "1", "", ""),
        ("1<", "1", "", ""),
        ("1 in ", "[1]", "", ""),
        ("[]in", "[]", "", ""),
        ("1?1:", "1", "", " == 1"),
        ("1?", "1", ":1", " == 1"),
        ("true&&", "true", "", ""),
        ("true||", "true", "", ""),
        ("true?true:", "true", "", ""),
        ("", "params.list", "[0]", " == 1"),
        ("", "params.map", ".a", " == 1"),
        ("", "params.map", "[params.n]", " == 1"),
        ("", "params.s", ".size()", " == 1"),
        ("size(", "params.s", ")", " == 1"),
        ("1,", "1", "", ""),
        ("[1,", "1", "]", " == []"),
        ("params.list.all(x,", "true", ")", ""),
        ("has(", "params.map.a", ")", ""),
        ("a{a:", "1", "}", ""),
        ("(1?1:(1?1:(1?1:(1?1:1))))+", "1", "", " == 1"),
        ("!(!(!(!(1in[1]", "", "))))&&", "true"),
        ("params.list.map(x,[x])+", "[1]", "", " == []"),
        ("'a'+", "'a'", "", " == 'a'"),
        ("r'a'+", "'a'", "", " == 'a'"),
        ("?", "", ":", ""),
        (".", "", "", ""),
        ("{", "", "", ""),
        ("]", "", "[", ""),
    ] {
        conditions.extend(chain(open, middle, close, tail));
    }
    let (tried, passed, told) = on_a_small_stack(conditions);
    println!("{tried} chains tried, {passed} passed the check, {told} came to something");
    assert!(tried > 0 && passed > 0 && told > 0 && passed < tried);
}

/// The next of a fixed sequence of numbers.
fn next(seed: &mut u64) -> usize {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    usize::try_from(*seed >> 33).unwrap()
}

/// An expression of the grammar, brackets at most this deep.
fn expression(seed: &mut u64, depth: usize, budget: usize) -> String {
    const ATOMS: [&str; 10] = [
        "1",
        "true",
        "params.n",
        "params.list",
        "'a'",
        "params.flag",
        "[]",
        "{}",
        "x",
        "null",
    ];
    const BETWEEN: [&str; 12] = [
        "+", "-", "*", "&&", "||", "==", "!=", "<", ">=", " in ", "%", "/",
    ];
    if budget == 0 {
        return ATOMS[next(seed) % ATOMS.len()].to_owned();
    }
    let deeper = depth.saturating_sub(1);
    match next(seed) % if depth == 0 { 4 } else { 11 } {
        0 => format!("!{}", expression(seed, depth, budget - 1)),
        1 => format!("-{}", expression(seed, depth, budget - 1)),
        2 => {
            let between = BETWEEN[next(seed) % BETWEEN.len()];
            let left = expression(seed, depth, budget / 2);
            format!("{left}{between}{}", expression(seed, depth, budget / 2))
        }
        3 => {
            let then = expression(seed, depth, budget / 3);
            let other = expression(seed, depth, budget - 1);
            format!("true?{then}:{other}")
        }
        4 | 5 => format!("({})", expression(seed, deeper, budget - 1)),
        6 => format!("[{}]", expression(seed, deeper, budget - 1)),
        7 => format!("{{1:{}}}", expression(seed, deeper, budget - 1)),
        8 => format!("size({})", expression(seed, deeper, budget - 1)),
        9 => format!(
            "params.list.exists(x,{})",
            expression(seed, deeper, budget - 1)
        ),
        _ => format!("params.list[{}]", expression(seed, deeper, budget - 1)),
    }
}

#[test]
fn p18_thousands_of_conditions_at_the_limits_fit_a_small_stack() {
    let mut seed = 0x9e37_79b9_7f4a_7c15;
    let mut conditions = Vec::new();
    while conditions.len() < 3000 {
        let budget = 4 + next(&mut seed) % 60;
        let condition = expression(&mut seed, 4, budget);
        if (20..=CHARS).contains(&condition.len()) {
            conditions.push(condition);
        }
    }
    let (tried, passed, told) = on_a_small_stack(conditions);
    println!("{tried} conditions tried, {passed} passed the check, {told} came to something");
    assert!(passed > 100 && told > 0 && passed < tried);
}

#[test]
fn p18_a_condition_that_would_take_a_long_list_times_itself_is_refused() {
    let mut state = state(true);
    let mut long = (*state.definition).clone();
    let list = vec![1; 100_000];
    long.params
        .insert("long".to_owned(), serde_json::json!(list));
    state.definition = std::sync::Arc::new(long);
    let scope = Scope::of(&state.definition, 2);
    let place = Place {
        definition: &state.definition,
        scope,
        answered: false,
    };
    // Ten thousand million comparisons, or copies: neither is to be begun.
    for condition in [
        "params.long.exists(x, 2 in params.long)",
        "params.long.all(x, x in params.long)",
        "params.long.map(x, params.long).size() == 1",
        "params.long.map(x, [params.long]).size() == 1",
        "params.long.exists(x, size(params.long) == x)",
        "params.long.exists(x, params.long == [x])",
    ] {
        assert!(check(condition, place).is_err(), "{condition}");
    }
}
