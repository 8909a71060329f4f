//! What every kernel with BTF offers, with or without controllers.

mod events;
mod foreign;
mod passes;
mod places;
mod run_time;
pub(crate) mod support;
