"""SRN compared with its own main net on real photographs."""
