"""The native COE: hosts with a bare container runtime each, orchestrated by the gateway itself."""
