$(call program,postern-dkim,dkim_main.c dkim_store.c dkim_dns.c,authres dns conf ipc io os log base)
