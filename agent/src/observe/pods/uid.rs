//! The UID of a pod whose manifest gives none.
//!
//! As kubelet does for static pods, it is an MD5 sum in 32 hexadecimal digits over the pod and the node's name: the
//! same manifest is the same pod after every restart of the agent, and a changed one is another pod, to be started
//! in place of the old. Unlike kubelet's it leaves out the file's path, so that moving a manifest does not restart
//! its pod, and it is taken over every field of the document, known to the agent or not.

use md5::{Digest, Md5};

use super::node::Node;
use crate::model::{IdError, PodUid};

pub(super) fn derive(pod: &Node, node_name: &str) -> Result<PodUid, IdError> {
    let mut hash = Md5::new();
    pod.fingerprint(&mut hash);
    hash.update(b"host:");
    hash.update(node_name);
    let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    PodUid::parse(&hex)
}
