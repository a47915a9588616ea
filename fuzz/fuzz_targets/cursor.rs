//! Any text as the cursor of a list.
#![no_main]

/// What the reader of cursors refuses with.
mod failure {
    pub(crate) struct Failure(&'static str);

    impl Failure {
        pub(crate) fn new(code: &'static str, _: impl AsRef<str>) -> Self {
            Self(code)
        }

        pub(crate) fn code(&self) -> &str {
            self.0
        }
    }
}

/// A sort key and the reference that tells equal keys apart.
pub(crate) type Key = (String, String);

#[path = "../../crates/control/src/listing/cursor.rs"]
mod cursor;

const LIST: &str = "0123456789abcdef";

// It reads or is refused; and what reads, reads the same once written again.
libfuzzer_sys::fuzz_target!(|text: &str| match cursor::Cursor::read(text, LIST) {
    Ok(key) => {
        let again = cursor::Cursor::after(LIST, &key).written();
        assert!(cursor::Cursor::read(&again, LIST).is_ok_and(|read| read == key));
    }
    Err(failure) => {
        assert!(["cursor.invalid", "cursor.other_list"].contains(&failure.code()));
    }
});
