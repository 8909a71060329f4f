//! Applying, undoing and removing on the kernel.
