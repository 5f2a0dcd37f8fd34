FILTER_SCAN := scan.c banned.c clamav.c stage_sender.c stage_gtube.c
$(call program,filterd,main.c monitor.c template.c worker.c relay.c asker.c confinement.c $(FILTER_SCAN),authres dns map mail conf ipc io os log base,-lclamav)
$(call program,postern-filter,main_test.c $(FILTER_SCAN),authres dns map mail conf ipc io os log base,-lclamav)
$(call unittest,test_banned,test_banned.c $(FILTER_SCAN),authres dns map mail conf ipc io os log test base,-lclamav)
