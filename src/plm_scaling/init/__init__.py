"""From someone's proteins, devices and time to the config of a study."""
