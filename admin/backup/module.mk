BACKUP := backup_store.c backup_list.c
$(call program,postern-backup,backup_main.c backup_mail.c backup_serve.c backup_files.c $(BACKUP),store map imap mail conf ipc io os log base)
$(call program,postern-restore,restore_main.c $(BACKUP),map conf os log base)
$(call unittest,test_backup_list,test_backup_list.c backup_list.c,base test)
$(call fuzzer,fuzz_backup_list,fuzz_backup_list.c backup_list.c,base)
