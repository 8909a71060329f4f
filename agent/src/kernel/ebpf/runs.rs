//! Programs that the agent runs itself, attached to nothing.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use aya::programs::{Program, ProgramError, RawTracePointRunOptions, TestRun};
use rustix::io::Errno;

use super::load::{LoadError, Loaded};
use super::survey::KernelTypes;
use crate::kernel::bpf_sys;

/// The iterator over one cgroup that tells an object of it.
const FIND: &str = "find";

impl Loaded {
    /// Verifies a raw tracepoint program, to be run.
    ///
    /// # Errors
    /// [`LoadError::Program`].
    pub(super) fn load_to_run(&mut self, name: &'static str) -> Result<(), LoadError> {
        let refused = self.refused(name);
        match self.ebpf.program_mut(name) {
            Some(Program::RawTracePoint(program)) => program.load().map_err(refused),
            _ => Err(refused(ProgramError::UnexpectedProgramType)),
        }
    }

    /// Runs a raw tracepoint program and gives what it returned.
    ///
    /// # Errors
    /// [`LoadError::Program`].
    pub(super) fn run(
        &mut self,
        name: &'static str,
        options: RawTracePointRunOptions,
    ) -> Result<u32, LoadError> {
        let refused = self.refused(name);
        match self.ebpf.program_mut(name) {
            Some(Program::RawTracePoint(program)) => {
                Ok(program.test_run(options).map_err(refused)?.return_value)
            }
            _ => Err(refused(ProgramError::UnexpectedProgramType)),
        }
    }

    /// Runs it on one CPU; gives none when that is not online.
    ///
    /// # Errors
    /// [`LoadError::Program`].
    pub(super) fn run_on(
        &mut self,
        cpu: u32,
        name: &'static str,
        mut options: RawTracePointRunOptions,
    ) -> Result<Option<u32>, LoadError> {
        options.cpu = Some(cpu);
        match self.run(name, options) {
            Ok(value) => Ok(Some(value)),
            Err(LoadError::Program { source, .. }) if is_offline(&source) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Runs the iterator `find` of the object on the cgroup whose directory this is. While what is returned is held,
    /// the cgroup's structure stays in the kernel's memory.
    ///
    /// # Errors
    /// [`LoadError::Program`], [`LoadError::Call`].
    pub(super) fn find_cgroup(
        &mut self,
        types: &KernelTypes,
        directory: &File,
    ) -> Result<OwnedFd, LoadError> {
        let object = self.object;
        let call = |what| move |source| LoadError::Call { object, what, source };
        let refused = self.refused(FIND);
        let Some(Program::Iter(program)) = self.ebpf.program_mut(FIND) else {
            return Err(refused(ProgramError::UnexpectedProgramType));
        };
        program.load("cgroup", &types.aya).map_err(&refused)?;
        let descriptor = program.fd().map_err(&refused)?;
        let link =
            bpf_sys::link_cgroup(descriptor.as_fd(), directory.as_fd()).map_err(call("link the iterator"))?;
        bpf_sys::run_iterator(link.as_fd()).map_err(call("run the iterator"))?;
        Ok(link)
    }

    fn refused(&self, program: &'static str) -> impl Fn(ProgramError) -> LoadError + use<> {
        let object = self.object;
        move |source| LoadError::Program {
            object,
            program: program.to_owned(),
            step: "run",
            source: Box::new(source),
        }
    }
}

/// Whether a program could not be run because its CPU is not online.
fn is_offline(error: &ProgramError) -> bool {
    let offline = Errno::NXIO.raw_os_error();
    matches!(error, ProgramError::SyscallError(error) if error.io_error.raw_os_error() == Some(offline))
}
