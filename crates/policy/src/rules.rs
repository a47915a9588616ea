//! What is never run, whoever approves: the operator's deny list.

/// Checked deny patterns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    deny: Vec<[String; 3]>,
}

/// A pattern that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "Write each entry of `[rules] deny` as `skill/tool/action`, with `*` for any text: entry {entry} is not"
)]
pub struct RuleError {
    /// Its place in the list, from 1.
    pub entry: usize,
}

/// A call that a rule forbids.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Ask the operator, or leave this step out: the rule `{rule}` in `config.toml` forbids it")]
pub struct Denied {
    /// The pattern that matched.
    pub rule: String,
}

impl Denied {
    /// The stable code of the refusal.
    pub const CODE: &'static str = "policy.denied";
}

impl Rules {
    /// Reads patterns of the form `skill/tool/action`. `*` stands for any text within
    /// one part; parts left out at the end stand for any. Case does not count.
    ///
    /// # Errors
    ///
    /// [`RuleError`] for an entry with an empty part or more than three.
    pub fn new<S: AsRef<str>>(deny: &[S]) -> Result<Self, RuleError> {
        let deny = deny.iter().enumerate().map(|(i, pattern)| {
            let error = RuleError { entry: i + 1 };
            let mut parts = ["*", "*", "*"].map(str::to_owned);
            let given: Vec<&str> = pattern.as_ref().trim().split('/').map(str::trim).collect();
            if given.len() > 3 || given.iter().any(|part| part.is_empty()) {
                return Err(error);
            }
            for (part, given) in parts.iter_mut().zip(given) {
                *part = given.to_ascii_lowercase();
            }
            Ok(parts)
        });
        Ok(Self {
            deny: deny.collect::<Result<_, _>>()?,
        })
    }

    /// Checks a call about to be sent. A tool without actions is matched as if its action
    /// were empty.
    ///
    /// # Errors
    ///
    /// [`Denied`] with the first pattern that matches.
    pub fn check(&self, skill: &str, tool: &str, action: Option<&str>) -> Result<(), Denied> {
        let call = [skill, tool, action.unwrap_or_default()].map(str::to_ascii_lowercase);
        let hit = self.deny.iter().find(|pattern| {
            pattern
                .iter()
                .zip(&call)
                .all(|(pattern, text)| matches(pattern, text))
        });
        match hit {
            Some(pattern) => Err(Denied {
                rule: guard::text::sanitize(&pattern.join("/")),
            }),
            None => Ok(()),
        }
    }
}

/// Whether `text` is `pattern`, in which `*` stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(i) => rest = &rest[i + part.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn denied(pattern: &str, call: (&str, &str, Option<&str>)) -> bool {
        Rules::new(&[pattern]).is_ok_and(|rules| rules.check(call.0, call.1, call.2).is_err())
    }

    #[test]
    fn p15_a_pattern_denies_what_it_names_and_nothing_else() {
        let delete = ("control", "vmware_control", Some("delete"));
        for pattern in [
            "control/vmware_control/delete",
            "control/*/delete",
            "*/*/del*",
            "CONTROL/vmware_control/DELETE",
            "control/vmware_control",
            "control",
            "*",
            "control/*_control/*",
            "control/vm*con*/d*e*e",
        ] {
            assert!(denied(pattern, delete), "{pattern}");
        }
        for pattern in [
            "control/vmware_control/delet",
            "control/vmware_control/delete_all",
            "aiops",
            "control/vmware",
            "*/vmware_control/get*",
            "control/*x*/delete",
            "control/vmware_control/*deletes",
        ] {
            assert!(!denied(pattern, delete), "{pattern}");
        }
    }

    #[test]
    fn p15_a_tool_without_actions_is_matched_by_its_name() {
        assert!(denied("aiops/vm_delete", ("aiops", "vm_delete", None)));
        assert!(denied("aiops/vm_delete/*", ("aiops", "vm_delete", None)));
        assert!(!denied("aiops/vm_delete/x", ("aiops", "vm_delete", None)));
    }

    #[test]
    fn p15_a_pattern_that_cannot_be_read_is_said_to_be() {
        for bad in ["", "a//b", "/", "a/b/c/d", "a/"] {
            assert_eq!(
                Rules::new(&["ok", bad]),
                Err(RuleError { entry: 2 }),
                "{bad:?}"
            );
        }
        assert_eq!(Rules::default().check("a", "b", None), Ok(()));
    }

    #[test]
    fn p15_the_refusal_names_the_rule() {
        let error =
            Rules::new(&["a", "control/*/delete"]).map(|r| r.check("control", "t", Some("delete")));
        assert_eq!(
            error,
            Ok(Err(Denied {
                rule: "control/*/delete".to_owned()
            }))
        );
    }

    /// The same by trying every split: slow and plainly right.
    fn plainly(pattern: &[char], text: &[char]) -> bool {
        match pattern {
            [] => text.is_empty(),
            ['*', rest @ ..] => (0..=text.len()).any(|i| plainly(rest, &text[i..])),
            [c, rest @ ..] => text.first() == Some(c) && plainly(rest, &text[1..]),
        }
    }

    proptest! {
        #[test]
        fn p15_matching_agrees_with_its_definition(pattern in "[ab*]{0,8}", text in "[ab]{0,8}") {
            let (p, t): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
            prop_assert_eq!(matches(&pattern, &text), plainly(&p, &t));
        }
    }
}
