QUEUETOOL := postqueue.c queuetool_ask.c queuetool_list.c queuetool_show.c
$(foreach name,postern-queue postqueue postsuper postcat,$(call program,$(name),$(QUEUETOOL),spool mail conf ipc io os log base))
$(call program,postern-quarantine,quarantine.c queuetool_ask.c queuetool_show.c,spool mail conf ipc io os log base)
