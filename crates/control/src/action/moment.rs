//! Points in time: as callers write them, and as the server does.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::argument::Arguments;
use crate::call::Call;
use crate::failure::Failure;
use crate::fault;

/// A point in time as a caller writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    At(Timestamp),
    /// So long before the server's now.
    Ago(SignedDuration),
}

impl Moment {
    /// `2026-01-31`, `2026-01-31T10:00:00Z`, `2026-01-31T10:00:00` (both UTC), or `90s`, `30m`,
    /// `24h`, `7d`, `2w` before now.
    fn read(text: &str) -> Option<Self> {
        let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = match &text[number.len()..] {
            "s" => Some(1),
            "m" | "min" => Some(60),
            "h" => Some(3_600),
            "d" => Some(86_400),
            "w" => Some(604_800),
            _ => None,
        };
        if let Some(unit) = unit
            && let Ok(count) = number.parse::<u32>()
        {
            // 2^32 weeks in seconds fit; whether there was such a time shows later.
            return Some(Self::Ago(SignedDuration::from_secs(
                i64::from(count) * unit,
            )));
        }
        if let Ok(at) = text.parse::<Timestamp>() {
            return Some(Self::At(at));
        }
        let civil = text
            .parse::<DateTime>()
            .or_else(|_| text.parse::<Date>().map(|date| date.at(0, 0, 0, 0)))
            .ok()?;
        let zoned = civil.to_zoned(TimeZone::UTC).ok()?;
        Some(Self::At(zoned.timestamp()))
    }
}

/// From when until when.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Range {
    pub(super) begin: Option<Timestamp>,
    pub(super) end: Option<Timestamp>,
}

/// The arguments `since` and `until` can be read.
///
/// # Errors
///
/// `argument.out_of_range`.
pub(crate) fn check(arguments: &Arguments) -> Result<(), Failure> {
    for name in ["since", "until"] {
        if let Some(text) = arguments.text(name)
            && Moment::read(text).is_none()
        {
            return Err(unreadable(name));
        }
    }
    Ok(())
}

fn unreadable(name: &'static str) -> Failure {
    Failure::new(
        "argument.out_of_range",
        format!(
            "Pass `{name}` as a time such as 2026-01-31T10:00:00Z, or as an age such as 30m, 24h or 7d"
        ),
    )
    .with("argument", name)
}

impl Range {
    /// Of the call's `since` and `until`, by the server's clock.
    pub(super) async fn of(call: &Call<'_>) -> Result<Self, Failure> {
        let moment = |name| call.arguments.text(name).and_then(Moment::read);
        let (begin, end) = (moment("since"), moment("until"));
        let is_ago = |moment: Option<Moment>| matches!(moment, Some(Moment::Ago(_)));
        let now = if is_ago(begin) || is_ago(end) {
            Some(now(call).await?)
        } else {
            None
        };
        let at = |name, moment| match (moment, now) {
            (Some(Moment::At(at)), _) => Ok(Some(at)),
            (Some(Moment::Ago(ago)), Some(now)) => {
                now.checked_sub(ago).map(Some).map_err(|_| unreadable(name))
            }
            _ => Ok(None),
        };
        let range = Self {
            begin: at("since", begin)?,
            end: at("until", end)?,
        };
        if let (Some(begin), Some(end)) = (range.begin, range.end)
            && begin > end
        {
            return Err(Failure::new(
                "argument.out_of_range",
                "Pass a `since` that is before `until`: nothing lies between them",
            )
            .with("argument", "since"));
        }
        Ok(range)
    }

    /// Whether a time of the server's is within; one that cannot be read is.
    pub(super) fn holds(&self, time: &str) -> bool {
        let Some(at) = read(time) else {
            return true;
        };
        self.begin.is_none_or(|begin| begin <= at) && self.end.is_none_or(|end| at <= end)
    }
}

/// The server's clock.
pub(super) async fn now(call: &Call<'_>) -> Result<Timestamp, Failure> {
    let text = call.session.current_time().await.map_err(fault::failure)?;
    read(&text).ok_or_else(|| {
        Failure::new(
            "host.not_vsphere",
            "Check what listens there: its clock shows a time that is none",
        )
        .with("call", "CurrentTime")
    })
}

/// A time as servers write it.
pub(super) fn read(text: &str) -> Option<Timestamp> {
    text.trim().parse().ok()
}

/// How long ago a time of the server's is, in days, to a hundredth.
pub(super) fn age_days(time: &str, now: Timestamp) -> Option<f64> {
    let seconds = now.as_second() - read(time)?.as_second();
    Some((seconds as f64 / 864.0).round() / 100.0)
}

/// A sort key by which later times come first; what has no time comes last.
pub(super) fn newest_first(time: &str) -> String {
    let micros = read(time).map_or(i64::MIN, Timestamp::as_microsecond);
    format!("{:020}", i128::from(i64::MAX) - i128::from(micros))
}

/// A sort key by which earlier times come first.
pub(super) fn oldest_first(time: &str) -> String {
    let micros = read(time).map_or(i64::MAX, Timestamp::as_microsecond);
    format!("{:020}", i128::from(micros) - i128::from(i64::MIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_ages_are_read_and_nothing_else() {
        let at = |text: &str| text.parse::<Timestamp>().map(Moment::At).ok();
        assert_eq!(
            Moment::read("2026-01-31T10:00:00Z"),
            at("2026-01-31T10:00:00Z")
        );
        assert_eq!(
            Moment::read("2026-01-31T12:00:00+02:00"),
            at("2026-01-31T10:00:00Z")
        );
        assert_eq!(Moment::read("2026-01-31"), at("2026-01-31T00:00:00Z"));
        let ago = |seconds| Some(Moment::Ago(SignedDuration::from_secs(seconds)));
        assert_eq!(Moment::read("24h"), ago(86_400));
        assert_eq!(Moment::read("7d"), ago(604_800));
        for wrong in [
            "",
            "yesterday",
            "-3d",
            "3",
            "3y",
            "2026-13-01",
            "99999999999d",
        ] {
            assert_eq!(Moment::read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn sort_keys_follow_time_whatever_its_spelling() {
        let (early, late) = ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00.5+00:00");
        assert!(newest_first(late) < newest_first(early));
        assert!(newest_first(early) < newest_first("never"));
        assert!(oldest_first(early) < oldest_first(late));
    }
}
