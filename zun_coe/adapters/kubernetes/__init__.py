"""The COE Kubernetes: apps are Deployments with Services, containers are Pods."""
