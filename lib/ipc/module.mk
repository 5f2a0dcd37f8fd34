IPC_CHANNELS := auth control deliver dns filter helper import key learn link policy queue reg remote resolve sess spawn sts
$(call library,codec.c version.c welcome.c packet.c chan.c blocking.c key_client.c ask.c outcomes.c $(addsuffix .c,$(IPC_CHANNELS)))
$(call unittest,test_codec,test_codec.c,ipc base test)
$(call unittest,test_outcomes,test_outcomes.c,ipc base test)
$(call unittest,test_chan,test_chan.c,ipc io os log base test)
$(call unittest,test_key_client,test_key_client.c,ipc io os log base test)
$(call fuzzer,fuzz_ipc,fuzz_ipc.c,ipc base)
