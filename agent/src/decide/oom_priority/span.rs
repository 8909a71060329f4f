//! How far the values of a container's processes may be moved.

use std::ops::RangeInclusive;

use super::group::Group;
use super::{Inputs, Mode};
use crate::model::QosClass;

/// kubelet's values for Burstable pods. (Kubernetes' documentation has it begin at 2, its code at 3.)
const BURSTABLE: RangeInclusive<i16> = 3..=999;
/// No process is made safer than a Guaranteed pod's.
const LOWEST: i16 = -997;
const HIGHEST: i16 = 1000;

/// From and to which value; none where there is nothing to choose.
pub(super) fn span(group: &Group, inputs: &Inputs) -> Option<RangeInclusive<i16>> {
    let facts = inputs.roster.get(group.owner.pod)?;
    let start = group.start.0;
    match inputs.mode {
        Mode::Bands if facts.shield.is_some() => None,
        Mode::Bands => match facts.class {
            QosClass::Burstable => Some(BURSTABLE).filter(|band| band.contains(&start)),
            QosClass::Guaranteed | QosClass::BestEffort => None,
        },
        // Only the top pod is raised, and a shielded one is never that.
        Mode::Ranked => Some(start.min(LOWEST)..=HIGHEST),
    }
}
