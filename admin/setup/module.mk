$(call program,postern-setup,setup_main.c setup_files.c setup_dns.c,spool conf io os log base)
