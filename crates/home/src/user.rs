//! Who runs this process, as the kernel says.

use std::fs;
use std::path::Path;

use crate::HomeError;

/// The user of the operating system that this process runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The effective user id.
    pub uid: u32,
    /// The name by `/etc/passwd`; `uid-1000` where it has none, or one that cannot be a file name.
    pub name: String,
}

impl User {
    /// The current user. The environment is not asked: anyone can set `USER`.
    #[must_use]
    pub fn current() -> Self {
        let passwd = fs::read("/etc/passwd").unwrap_or_default();
        Self::from_passwd(effective_uid(), &String::from_utf8_lossy(&passwd))
    }

    /// The user with this uid by the text of a passwd file.
    fn from_passwd(uid: u32, passwd: &str) -> Self {
        let name = passwd
            .lines()
            .filter_map(|line| {
                let mut fields = line.split(':');
                let name = fields.next()?;
                let entry = fields.nth(1)?.parse::<u32>().ok()?;
                (entry == uid).then_some(name)
            })
            .find(|name| is_plain(name))
            .map_or_else(|| format!("uid-{uid}"), str::to_owned);
        Self { uid, name }
    }
}

/// A name that cannot leave a directory, hide, or pose as another uid's.
fn is_plain(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        && name
            .bytes()
            .next()
            .is_some_and(|b| b.is_ascii_alphanumeric())
        && !name.starts_with("uid-")
}

pub(crate) fn effective_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

pub(crate) fn check_owner(path: &Path, owner: u32) -> Result<(), HomeError> {
    let uid = effective_uid();
    if owner == uid {
        Ok(())
    } else {
        Err(HomeError::Owner {
            path: path.to_owned(),
            owner,
            uid,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0::/root:/bin/sh\n_apt:x:42:1::/:\nalice:x:1000:1000::/:/bin/sh\nbroken\n\
        ../x:x:1001:1::/:\nuid-7:x:1002:1::/:\nsecond:x:1002:1::/:\n";

    #[test]
    fn the_name_comes_from_the_uid() {
        let name = |uid| User::from_passwd(uid, PASSWD).name;
        assert_eq!(name(0), "root");
        assert_eq!(name(1000), "alice");
        assert_eq!(name(4711), "uid-4711");
    }

    #[test]
    fn a_name_that_could_mislead_is_not_used() {
        let name = |uid| User::from_passwd(uid, PASSWD).name;
        assert_eq!(name(1001), "uid-1001", "a path");
        assert_eq!(name(1002), "second", "the name of another uid's fallback");
        assert_eq!(name(42), "uid-42");
    }

    #[test]
    fn the_current_user_is_the_one_of_the_kernel() {
        assert_eq!(User::current().uid, effective_uid());
    }
}
