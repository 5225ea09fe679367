"""Talking to the API server: reflector, writer, lease, certificates; decides nothing about scheduling."""
