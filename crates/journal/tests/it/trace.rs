//! What a role does to the files of its home, recorded by `strace`.
//!
//! Fails where it cannot be traced: a test does not skip what it cannot see.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One thing that was done to a file or a directory, when it had been done.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Done {
    /// A file was made where there was none.
    Create(PathBuf),
    Mkdir(PathBuf),
    Rename(PathBuf, PathBuf),
    Unlink(PathBuf),
    /// At this place; without one, at the end.
    Write(PathBuf, Option<usize>, Vec<u8>),
    Truncate(PathBuf, usize),
    /// A file or a directory.
    Sync(PathBuf),
}

/// The calls that change a file, and those that are not understood here: they must not happen.
const CALLS: &str = "trace=openat,open,creat,write,writev,pwrite64,pwritev,pwritev2,ftruncate,truncate,\
     fallocate,fsync,fdatasync,sync_file_range,copy_file_range,sendfile,rename,renameat,renameat2,\
     unlink,unlinkat,mkdir,mkdirat,rmdir,link,linkat,symlink,symlinkat,msync";

/// `strace` over a command, with these arguments of its own before it.
pub(crate) fn traced(command: &Command, out: &Path, arguments: &[&str]) -> Command {
    let mut traced = Command::new("strace");
    traced
        .args(["-f", "-qq", "-e", "signal=none"])
        .args(arguments)
        .arg("-o")
        .arg(out)
        .arg("--")
        .arg(command.get_program())
        .args(command.get_args())
        .envs(
            command
                .get_envs()
                .filter_map(|(key, value)| Some((key, value?))),
        );
    traced
}

/// Runs a command and tells what it did below this directory, in order.
pub(crate) fn record(command: &Command, dir: &Path) -> Vec<Done> {
    let out = tempfile::NamedTempFile::new().unwrap();
    let arguments = ["-y", "-xx", "-s", "16777216", "-e", CALLS];
    let status = traced(command, out.path(), &arguments).status();
    let status = status.expect("strace is needed for this test");
    assert!(status.success(), "the role failed, or strace may not trace");
    let text = std::fs::read_to_string(out.path()).unwrap();
    let done: Vec<_> = calls(&text)
        .filter_map(|call| understood(&call, dir))
        .collect();
    assert!(!done.is_empty(), "nothing was recorded");
    done
}

/// The calls of all threads, each once, where it ended.
fn calls(text: &str) -> impl Iterator<Item = String> {
    let mut begun: HashMap<&str, &str> = HashMap::new();
    text.lines().filter_map(move |line| {
        let (thread, call) = line.split_once(' ')?;
        let call = call.trim_start();
        if let Some(call) = call.strip_suffix(" <unfinished ...>") {
            begun.insert(thread, call);
            return None;
        }
        match call.split_once(" resumed>") {
            Some((resumed, rest)) if resumed.starts_with("<...") => {
                Some(format!("{}{rest}", begun.remove(thread)?))
            }
            _ => Some(call.to_owned()),
        }
    })
}

fn understood(call: &str, dir: &Path) -> Option<Done> {
    let (name, rest) = call.split_once('(')?;
    let (inside, result) = rest.rsplit_once(" = ")?;
    let inside = inside.trim_end().strip_suffix(')')?;
    if result.starts_with('-') || result.starts_with('?') {
        return None;
    }
    let arguments: Vec<&str> = inside.split(", ").collect();
    let within = |path: PathBuf| path.starts_with(dir).then_some(path);
    let text = |n: usize| path(quoted(arguments[n]));
    let number = |n: usize| arguments[n].parse::<usize>().unwrap();
    match name {
        "openat" => {
            let path = within(text(1))?;
            assert!(!arguments[2].contains("O_TRUNC"), "{path:?} is emptied");
            arguments[2]
                .contains("O_CREAT")
                .then_some(Done::Create(path))
        }
        "mkdir" => Some(Done::Mkdir(within(text(0))?)),
        "rename" => Some(Done::Rename(within(text(0))?, text(1))),
        "unlink" => Some(Done::Unlink(within(text(0))?)),
        "fsync" | "fdatasync" => Some(Done::Sync(within(descriptor(arguments[0])?)?)),
        "ftruncate" => {
            let path = within(descriptor(arguments[0])?)?;
            Some(Done::Truncate(path, number(1)))
        }
        "write" | "pwrite64" => {
            let path = within(descriptor(arguments[0])?)?;
            let bytes = quoted(arguments[1]);
            assert_eq!(result.parse(), Ok(bytes.len()), "a part was written");
            let at = (name == "pwrite64").then(|| number(3));
            Some(Done::Write(path, at, bytes))
        }
        // Whatever else reaches a file of the home is not known to the model of the disk.
        _ => {
            let in_home = dir.as_os_str().as_encoded_bytes();
            let touched = arguments.iter().any(|argument| {
                descriptor(argument).is_some_and(|path| path.starts_with(dir))
                    || argument.starts_with('"') && quoted(argument).starts_with(in_home)
            });
            assert!(!touched, "not understood: {name}");
            None
        }
    }
}

/// The path of `5<\x2f…>`.
fn descriptor(argument: &str) -> Option<PathBuf> {
    let (_, path) = argument.split_once('<')?;
    Some(self::path(unescaped(path.strip_suffix('>')?)))
}

fn path(bytes: Vec<u8>) -> PathBuf {
    String::from_utf8(bytes).unwrap().into()
}

/// The bytes of `"\x2f…"`.
fn quoted(argument: &str) -> Vec<u8> {
    let text = argument
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    unescaped(text.unwrap_or_else(|| panic!("cut short: {argument:.40}")))
}

fn unescaped(text: &str) -> Vec<u8> {
    text.split("\\x")
        .skip(1)
        .map(|hex| u8::from_str_radix(&hex[..2], 16).unwrap())
        .collect()
}
