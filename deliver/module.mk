DELIVER_STATIC := $(if $(filter asan fuzz cov,$(BUILD)),,-static-pie)
$(call program,deliver,deliver.c deliver_user.c forward.c quota.c,store mail map ipc io os log base,$(DELIVER_STATIC))
$(call program,sendmail,sendmail.c sendmail_msg.c sendmail_smtp.c,smtp mail conf os log base)
$(call unittest,test_remote,test_remote.c remote.c remote_dns.c remote_smtp.c,smtp mail conf ipc io os log base test,-lcares)
