"""The REST api: reads requests strictly, lets nobody past its one door unasked, and answers in plain words.

It decides nothing about jobs: all that is behind service.JobService.
"""
