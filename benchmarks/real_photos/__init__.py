"""SRN beside its own main net on real photographs."""
