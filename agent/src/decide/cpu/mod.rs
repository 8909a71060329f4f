//! Exclusive CPUs: which containers get CPUs of their own, which CPUs, and why.
//!
//! **Problem.** A container of a Guaranteed pod that asks for whole CPUs gets them to itself; all others share the rest.
//! **Terms.** *Reserved* CPUs are never given away. What is *free* to be given is the shared pool without them. A
//! container is *aligned* if its CPUs lie on the NUMA nodes that the topology manager chose ([`super::numa`]).
//!
//! **How.** [`StaticPolicy`] is kubelet's static policy (Kubernetes 1.36) as a pure function: what is assigned and a pod
//! go in, and the pod's [`Admitted`] grants come out, or why it is refused. Nothing is changed until the grants are
//! applied, so that a pod gets all its containers want or nothing. Which CPUs is decided in [`take`]; [`Grant`]s carry
//! what was considered.
//!
//! # Properties
//! - No CPU is given to two pods, and reserved ones to nobody.
//! - A container gets exactly the number it asks for, from what was free or what an init container of its pod had.
//! - A pod that is refused changes nothing; one that is released leaves everything as before it came.
//! - The same pod on the same assignments gets the same CPUs.

mod admit;
mod choose;
mod defragment;
mod explain;
mod hints;
pub mod import;
mod policy;
#[cfg(test)]
mod props;
mod refusal;
mod reservation;
mod resize;
pub mod restore;
pub mod take;
#[cfg(test)]
mod tests;
mod wish;

pub use crate::config::{OptionsError, StaticOptions};
pub use admit::{Admitted, CpuAdmission};
pub use defragment::{Move, Wholeness};
pub use explain::{Algorithm, Explanation, Grant};
pub use policy::{PolicyError, StaticPolicy};
pub use refusal::{CpuRefusal, reason};
pub use reservation::{Reservation, ReservationError};
pub use wish::{WhyShared, Wish, Wishes};
