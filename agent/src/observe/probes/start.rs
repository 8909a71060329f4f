//! Starting the probes: survey, plan, and each object on its own.

use std::collections::BTreeMap;
use std::path::Path;

use plimsoll_ebpf::Object;
use plimsoll_ebpf::wire::Root;

use super::foreign::Foreign;
use super::support::{Plan, ProbePlan, plan};
use super::{ProbeState, ProbeStatus, Probes, SWITCH};
use crate::kernel::ebpf::{
    CpuBooks, Image, KernelTypes, LoadError, Loaded, Ring, Rings, Shortages, Stalled, Survey, Walker,
    open_directory, page_size,
};

/// What all objects are loaded with.
struct Context<'a> {
    images: &'a [Image<'a>],
    types: &'a KernelTypes,
    survey: &'a Survey,
    directory: &'a Path,
    /// Whether to count at context switches.
    switch: bool,
    /// The root, once `usage` has found it.
    root: Root,
}

impl Probes {
    /// Loads and attaches what this kernel offers, to watch the cgroup of `directory` and all below it; with
    /// `switch`, context switches too.
    ///
    /// Never fails as a whole: [`Probes::status`] tells what became of each object.
    #[must_use]
    pub fn start(directory: &Path, images: &[Image<'_>], switch: bool) -> Self {
        let mut probes = Self {
            page: page_size(),
            ..Self::default()
        };
        if images.iter().all(|(_, bytes)| bytes.is_empty()) {
            // The kernel's types are megabytes, which nothing would look at.
            return probes.none(&ProbeState::NotBuilt);
        }
        let unsupported = |error: LoadError| ProbeState::Unsupported(error.to_string());
        let types = match KernelTypes::read() {
            Ok(types) => types,
            Err(error) => return probes.none(&unsupported(error)),
        };
        match types.survey() {
            Ok(survey) => {
                let plan = plan(&survey);
                let root = Root::default();
                probes.load(
                    Context {
                        images,
                        types: &types,
                        survey: &survey,
                        directory,
                        switch,
                        root,
                    },
                    &plan,
                );
                probes
            }
            Err(error) => probes.none(&unsupported(error)),
        }
    }

    /// Nothing can be loaded.
    fn none(mut self, state: &ProbeState) -> Self {
        self.status = Object::ALL
            .map(|object| ProbeStatus {
                name: object.name(),
                state: state.clone(),
            })
            .into();
        self
    }

    fn load(&mut self, mut context: Context<'_>, plan: &ProbePlan) {
        for object in Object::ALL {
            let built = context
                .images
                .iter()
                .any(|(name, bytes)| *name == object.name() && !bytes.is_empty());
            let state = match plan.get(&object) {
                _ if !built => ProbeState::NotBuilt,
                Some(Plan::Attach { targets, without }) => {
                    match self.load_one(object, &mut context, targets) {
                        Ok(()) => ProbeState::Attached {
                            without: without.clone(),
                        },
                        Err(LoadError::NotBuilt { .. }) => ProbeState::NotBuilt,
                        Err(error) => ProbeState::Failed(error.to_string()),
                    }
                }
                Some(Plan::Skip(reason)) => ProbeState::Unsupported(reason.clone()),
                None => ProbeState::Unsupported("not planned".to_owned()),
            };
            self.status.push(ProbeStatus {
                name: object.name(),
                state,
            });
            if object == Object::Usage {
                let state = if built {
                    self.count_run_time(&context, plan)
                } else {
                    ProbeState::NotBuilt
                };
                self.status.push(ProbeStatus { name: SWITCH, state });
            }
        }
    }

    /// The part of `usage` that is attached: its failure leaves the passes as they are.
    fn count_run_time(&mut self, context: &Context<'_>, plan: &ProbePlan) -> ProbeState {
        if !context.switch {
            return ProbeState::Unsupported("not asked for".to_owned());
        }
        let Some(walker) = &mut self.walker else {
            return ProbeState::Unsupported("needs the object usage".to_owned());
        };
        let Some(Plan::Attach { targets, without }) = plan.get(&Object::Usage) else {
            return ProbeState::Unsupported("not planned".to_owned());
        };
        if targets.is_empty() {
            return ProbeState::Unsupported(without.join(", "));
        }
        match walker.count_run_time(context.types, |name| {
            targets.get(name).map(|name| (*name).to_owned())
        }) {
            Ok(()) => {
                self.counts_run_time = true;
                ProbeState::Attached { without: Vec::new() }
            }
            Err(error) => ProbeState::Failed(error.to_string()),
        }
    }

    fn load_one(
        &mut self,
        object: Object,
        context: &mut Context<'_>,
        targets: &BTreeMap<&'static str, &'static str>,
    ) -> Result<(), LoadError> {
        let target = |program: &str| targets.get(program).map(|name| (*name).to_owned());
        let facts = context
            .survey
            .facts
            .get(&object)
            .ok_or(LoadError::NotBuilt { object })?;
        let directory = || {
            open_directory(context.directory).map_err(|source| LoadError::Call {
                object,
                what: "open the root cgroup",
                source,
            })
        };
        let mut loaded = Loaded::open(object, context.images, facts, context.types)?;
        match object {
            Object::Foreign => {
                let books = CpuBooks::new(loaded, context.types, targets, &directory()?)?;
                self.foreign = Some(Foreign::new(books));
                return Ok(());
            }
            Object::Usage => {
                let walker = Walker::new(loaded, context.types, &directory()?)?;
                context.root = walker.root();
                self.walker = Some(walker);
                return Ok(());
            }
            Object::Reclaim | Object::Reclaimx => {
                let stalled = Stalled::new(&mut loaded)?;
                loaded.attach(context.types, target)?;
                if object == Object::Reclaim {
                    self.reclaim = Some(stalled);
                } else {
                    self.over_high = Some(stalled);
                }
            }
            Object::Shortage => {
                let shortages = Shortages::new(&mut loaded)?;
                loaded.attach(context.types, target)?;
                self.shortages = Some(shortages);
            }
            Object::Life | Object::Oom | Object::Oomx | Object::Writes => {
                if matches!(object, Object::Life | Object::Writes) {
                    loaded.set_root(context.root)?;
                }
                let ring = Ring::new(&mut loaded)?;
                loaded.attach(context.types, target)?;
                self.watch(ring).map_err(|source| LoadError::Call {
                    object,
                    what: "watch the ring",
                    source,
                })?;
            }
        }
        self.attached.push(loaded);
        Ok(())
    }

    fn watch(&mut self, ring: Ring) -> std::io::Result<()> {
        let mut rings = match self.rings.take() {
            Some(rings) => rings,
            None => Rings::new()?,
        };
        let added = rings.add(ring);
        self.rings = Some(rings);
        added
    }
}
