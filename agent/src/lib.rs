//! Plimsoll, a node agent.
