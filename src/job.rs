//! A configured source with its driver: the one match that builds drivers.
