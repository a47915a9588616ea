//! Moments as they are shown.

use jiff::Timestamp;
use workflow::model::Millis;

/// RFC 3339 in UTC, to the millisecond; `null` for what no calendar has.
pub(crate) fn shown(at: Millis) -> serde_json::Value {
    Timestamp::from_millisecond(at).map_or(serde_json::Value::Null, |at| format!("{at:.3}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_has_three_digits_and_ends_with_z() {
        assert_eq!(shown(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(shown(1_767_225_600_120), "2026-01-01T00:00:00.120Z");
        assert_eq!(shown(i64::MAX), serde_json::Value::Null);
    }
}
