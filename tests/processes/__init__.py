"""Many processes of the gateway on one etcd: real processes, a real etcd, real signals."""
