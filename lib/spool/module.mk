$(call library,journal.c spool.c recover.c)
$(call unittest,test_spool,test_spool.c,spool os base test)
$(call fuzzer,fuzz_spool,fuzz_spool.c,spool os base)
