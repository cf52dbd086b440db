//! What serves the agent itself: health and its own metrics.
