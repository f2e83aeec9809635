"""The supervisors that create agents, pools of agents, and supervisors of these."""
