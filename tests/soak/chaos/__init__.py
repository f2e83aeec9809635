"""The chaos soak: agents, pools and supervisors under drawn faults. See `__main__`."""
