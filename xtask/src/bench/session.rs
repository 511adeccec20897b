//! A workstation that `tp connect` has joined to a manager.
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use super::namespace::Namespace;
use super::place::Place;
use super::proc;
use super::programs::Programs;

#[derive(Debug)]
pub(crate) struct Session {
    place: Place,
    netns: PathBuf,
    programs: Programs,
    /// Arguments of every `tp connect`.
    words: Vec<String>,
    daemon: u32,
}

impl Session {
    pub(crate) fn connect(namespace: &Namespace, programs: &Programs, words: Vec<String>) -> Result<Self> {
        let mut session = Self {
            place: namespace.place(),
            netns: namespace.path(),
            programs: programs.clone(),
            words,
            daemon: 0,
        };
        session.up()?;
        Ok(session)
    }

    pub(crate) fn daemon(&self) -> u32 {
        self.daemon
    }

    pub(crate) fn down(&mut self) -> Result<()> {
        self.place.read(&[&self.programs.path("tp"), &PathBuf::from("quit")])?;
        let started = Instant::now();
        while self.find().is_some() {
            ensure!(started.elapsed() < Duration::from_secs(5), "the daemon does not end");
            sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    pub(crate) fn up(&mut self) -> Result<()> {
        let mut words = vec![self.programs.path("tp").display().to_string(), "connect".into()];
        words.extend(self.words.iter().cloned());
        self.place.read(&words)?;
        let Some(daemon) = self.find() else { bail!("connected, but there is no daemon") };
        self.daemon = daemon;
        Ok(())
    }

    /// It runs from our own copy of the program, and has a janitor beside it.
    fn find(&self) -> Option<u32> {
        let program = self.programs.path("tp-daemon");
        let is_daemon = |pid: &u32| {
            proc::runs(*pid, &program, &self.netns) && !proc::command_line(*pid).contains("janitor")
        };
        proc::all().into_iter().find(is_daemon)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.place.read(&[&self.programs.path("tp"), &PathBuf::from("quit")]);
    }
}
