//! Workloads of many processes.

use std::env;
use std::io;
use std::process::{Child, Command};
use std::thread;

use super::keep;
use super::options::Options;

/// Starts processes one after the other, each with some memory of its own.
pub(super) fn many(options: &Options) -> io::Result<()> {
    let size = format!("size={}", options.each);
    let mut children = Vec::new();
    for _ in 0..options.count {
        children.push(itself(&["anon", &size])?);
        thread::sleep(options.every);
        reap(&mut children)?;
    }
    while !children.is_empty() {
        thread::sleep(options.every);
        reap(&mut children)?;
    }
    keep()
}

/// Waits for those that ended, which would count as processes until then.
fn reap(children: &mut Vec<Child>) -> io::Result<()> {
    let mut living = Vec::with_capacity(children.len());
    for mut child in children.drain(..) {
        if child.try_wait()?.is_none() {
            living.push(child);
        }
    }
    *children = living;
    Ok(())
}

/// Starts two processes that each do the same with half of what is left to start.
pub(super) fn bomb(options: &Options) -> io::Result<()> {
    let rest = options.count.saturating_sub(1);
    let every = format!("every={}", options.every.as_millis());
    let mut children = Vec::new();
    for share in [rest / 2, rest - rest / 2] {
        if share > 0 {
            thread::sleep(options.every);
            children.push(itself(&["bomb", &every, &format!("count={share}")])?);
        }
    }
    for mut child in children {
        child.wait()?;
    }
    keep()
}

fn itself(arguments: &[&str]) -> io::Result<Child> {
    Command::new(env::current_exe()?).args(arguments).spawn()
}
