//! Patterns for names: `*` is any text, `?` any one character.

/// A pattern. It is compared with the whole text, without regard to case, as vSphere tells names
/// apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Glob(Vec<char>);

impl Glob {
    /// From its text.
    pub(crate) fn new(pattern: &str) -> Self {
        Self(pattern.to_lowercase().chars().collect())
    }

    /// Whether all of `text` fits.
    pub(crate) fn fits(&self, text: &str) -> bool {
        let text: Vec<char> = text.to_lowercase().chars().collect();
        let pattern = &self.0;
        let (mut at, mut in_pattern) = (0, 0);
        // Where the last asterisk stands, and how much of the text it has taken. Only the last one
        // ever has to take more, which bounds the work by the product of both lengths.
        let mut star: Option<(usize, usize)> = None;
        while at < text.len() {
            match pattern.get(in_pattern) {
                Some('*') => {
                    star = Some((in_pattern, at));
                    in_pattern += 1;
                }
                Some(c) if *c == '?' || *c == text[at] => {
                    at += 1;
                    in_pattern += 1;
                }
                _ => match &mut star {
                    Some((place, taken)) => {
                        *taken += 1;
                        at = *taken;
                        in_pattern = *place + 1;
                    }
                    None => return false,
                },
            }
        }
        pattern[in_pattern..].iter().all(|c| *c == '*')
    }
}

#[cfg(test)]
mod tests {
    use super::Glob;

    #[test]
    fn c10_a_pattern_fits_the_whole_text() {
        for (pattern, text, fits) in [
            ("web*", "web01", true),
            ("web*", "Web", true),
            ("WEB*", "web01", true),
            ("web", "web01", false),
            ("*01", "web01", true),
            ("*b*1", "web01", true),
            ("w?b01", "web01", true),
            ("w?b", "wb", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("?", "é", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("[a]", "a", false),
            (".*", "web", false),
            ("*/x", "a/x", true),
        ] {
            assert_eq!(Glob::new(pattern).fits(text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn c10_no_pattern_takes_for_ever() {
        let pattern = "*a".repeat(120) + "b";
        assert!(!Glob::new(&pattern).fits(&"a".repeat(4_000)));
    }
}
