"""Actors on asyncio threads: message, mailbox, future, ref, actor, runtime.

Nothing here knows supervisors, agents, the SDK or models.
"""
