FILTER_DOORS := door.c milter_door.c milter_in.c spamd_door.c spamd_head.c
FILTER_SCAN := scan.c policy.c outcome.c addrlist.c banned.c content.c archive.c tnef.c clamav.c stage_lists.c stage_header.c stage_banned.c stage_sender.c stage_spam.c findings.c
$(call program,filterd,main.c monitor.c jobs.c generations.c reload.c joblog.c suspects.c grey.c template.c worker.c relay.c keys.c dmarcdata.c learndata.c asker.c sign.c confinement.c $(FILTER_DOORS) $(FILTER_SCAN),authres spam smtp dns map mail conf ipc io os log base,-lclamav -larchive)
$(call program,postern-filter,main_test.c $(FILTER_SCAN),authres spam dns map mail conf ipc io os log base,-lclamav -larchive)
$(call program,postern-learn,learn_main.c learn_feed.c learn_queue.c learn_folders.c learndata.c,spam store map mail conf ipc io os log base)
$(call unittest,test_banned,test_banned.c $(FILTER_SCAN),authres spam dns map mail conf ipc io os log test base,-lclamav -larchive)
$(call unittest,test_outcome,test_outcome.c $(FILTER_SCAN),authres spam dns map mail conf ipc io os log test base,-lclamav -larchive)
$(call unittest,test_archive,test_archive.c archive.c tnef.c content.c,test base,-larchive)
$(call fuzzer,fuzz_archive,fuzz_archive.c archive.c tnef.c content.c,base,-larchive)
$(call unittest,test_doors,test_doors.c milter_in.c spamd_head.c,smtp base test)
$(call fuzzer,fuzz_doors,fuzz_doors.c milter_in.c spamd_head.c,smtp base)
$(call unittest,test_grey,test_grey.c grey.c,test base)
$(call unittest,test_monitor,test_monitor.c monitor.c jobs.c generations.c reload.c joblog.c suspects.c grey.c relay.c keys.c dmarcdata.c learndata.c $(FILTER_SCAN),authres spam smtp dns map mail conf ipc io os log test base,-lclamav -larchive)
$(call unittest,test_learndata,test_learndata.c learndata.c,spam map mail os log base test)
